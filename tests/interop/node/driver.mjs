// Unmodified clients of ASP.NET Core SignalR in Node. Each line of stdin is a command to ../servers/aspnetcore.js,
// `{"number": …, "command": …, …}`, answered on stdout by `{"number": …, "value": …}` or `{"number": …, "error": …}`.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(import.meta.url);
const names = ["@microsoft/signalr", "@aspnet/signalr"].flatMap((name) => [name, `${name}-protocol-msgpack`]);
const packages = Object.fromEntries(names.map((name) => [name, require(name)]));
const obey = require("../servers/aspnetcore.js")(packages);

function say(message) {
    process.stdout.write(`${JSON.stringify(message)}\n`);
}

process.on("unhandledRejection", (error) => { say({ number: null, error: String(error) }); });
process.on("uncaughtException", (error) => { say({ number: null, error: String(error && error.stack) }); });

createInterface({ input: process.stdin })
    .on("line", (line) => {
        const { number, command, ...about } = JSON.parse(line);
        obey(command, about).then(
            (value) => { say({ number, value }); },
            (error) => { say({ number, error: String(error && error.message) }); },
        );
    })
    .on("close", () => { process.exit(0); });
