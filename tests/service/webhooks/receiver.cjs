// A consumer of webhooks on Node: verifies each delivery with the package `standardwebhooks` does, responds with 204 or 400.
// Its argument is the folder where the package is installed; each line of standard input is the secret to use from then on.

const { createServer } = require("node:http");
const { createRequire } = require("node:module");
const { join } = require("node:path");
const { createInterface } = require("node:readline");

const { Webhook } = createRequire(join(process.argv[2], "package.json"))("standardwebhooks");

let secret = "";

const server = createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    try {
      new Webhook(secret).verify(Buffer.concat(chunks).toString(), request.headers);
      response.writeHead(204).end();
    } catch (error) {
      response.writeHead(400).end(String(error));
    }
  });
});

createInterface({ input: process.stdin })
  .on("line", (line) => {
    secret = line;
    console.log("known");
  })
  .on("close", () => process.exit());

server.listen(0, "127.0.0.1", () => console.log(server.address().port));
