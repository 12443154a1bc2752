// Perfetto's trace processor as a filter: requests on stdin, replies on stdout, each a
// TraceProcessorRpcStream. It runs the web worker of Perfetto's page, whose folder it is given:
// engine_bundle.js with the WebAssembly beside it.
import { readFileSync, writeSync } from "node:fs";
import { join } from "node:path";

const folder = process.argv[2];

// What the worker needs of a browser. It will not run in Node, so `process` is hidden from it.
class XMLHttpRequest {
  open(method, name) {
    this.name = name;
  }
  send() {
    this.response = readFileSync(join(folder, this.name));
  }
}
const worker = { location: { href: "file:///" } };
const browser = {
  self: worker,
  WorkerGlobalScope: Object,
  XMLHttpRequest,
  process: undefined,
  console: { ...console, log: console.error },
};

const code = readFileSync(join(folder, "engine_bundle.js"), "utf8");
new Function(...Object.keys(browser), code)(...Object.values(browser));
await new Promise(setImmediate); // the worker is ready when its promises are kept

const port = {
  postMessage(reply) {
    for (let at = 0; at < reply.length; ) at += writeSync(1, reply, at);
  },
};
worker.onmessage({ data: port });
port.onmessage({ data: new Uint8Array(readFileSync(0)) });
