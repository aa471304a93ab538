// What a test has the unmodified clients of ASP.NET Core SignalR do, in a page and in Node alike.
"use strict";
(function (root, factory) {
    if (typeof module === "object" && module.exports) { module.exports = factory(); } else { root.makeClients = factory(); }
})(typeof self === "undefined" ? this : self, function () {
    // Values travel as JSON; what that has not is tagged. Python's side of this is `aspnetcore_clients.py`.
    function write(value) {
        if (value === undefined || value === null) { return null; } // Python has but one of them
        if (typeof value !== "object") { return value; }
        if (value instanceof Date) { return { $date: value.toISOString() }; }
        if (value instanceof ArrayBuffer) { return write(new Uint8Array(value)); }
        if (value instanceof Uint8Array) {
            return { $bytes: btoa(Array.from(value, function (byte) { return String.fromCharCode(byte); }).join("")) };
        }
        if (Array.isArray(value)) { return value.map(write); }
        return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, write(each)]));
    }

    function read(value, uploads) {
        if (value === null || typeof value !== "object") { return value; }
        if (Array.isArray(value)) { return value.map((each) => read(each, uploads)); }
        if ("$date" in value) { return new Date(value.$date); }
        if ("$bytes" in value) { return Uint8Array.from(atob(value.$bytes), (char) => char.charCodeAt(0)); }
        if ("$upload" in value) { return uploads(value.$upload); }
        return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, read(each, uploads)]));
    }

    function textOf(error) { return error ? String(error.message === undefined ? error : error.message) : null; }

    // The result of a promise, or what was thrown.
    function outcome(promise) {
        return Promise.resolve(promise).then(
            (value) => ({ value: write(value) }),
            (error) => ({ error: textOf(error) }));
    }

    // One connection: what it has seen is in `seen`, what its package has to complain about in `complaints`.
    class Client {
        constructor() {
            this.seen = [];
            this.complaints = [];
            this.waiting = new Set();
            this.streams = {};
            this.uploads = {};
            this.logger = {
                log: (level, message) => { if (level >= 3) { this.complaints.push(String(message)); } },
            };
        }

        note(...event) {
            this.seen.push(write(event));
            for (const look of [...this.waiting]) { look(); }
        }

        // The first event that begins so.
        until(begin, within) {
            const wanted = begin.map((each) => JSON.stringify(each));
            const found = () => this.seen.find(
                (event) => wanted.every((each, index) => JSON.stringify(event[index]) === each));
            return new Promise((resolve, reject) => {
                const look = () => {
                    const event = found();
                    if (event === undefined) { return false; }
                    clearTimeout(timer);
                    this.waiting.delete(look);
                    resolve(event);
                    return true;
                };
                const timer = setTimeout(() => {
                    this.waiting.delete(look);
                    const seen = JSON.stringify(this.seen.slice(-20)).slice(-2000);
                    reject(new Error(`not within ${within} s: ${wanted}\nseen: ${seen}\n${this.complaints.join("\n")}`));
                }, within * 1000);
                if (!look()) { this.waiting.add(look); }
            });
        }

        arguments(values) {
            return values.map((value) => read(value, (name) => {
                this.uploads[name] = new this.signalr.Subject();
                return this.uploads[name];
            }));
        }
    }

    // `packages` has the packages by name.
    return function makeClients(packages) {
        const clients = {};

        function httpOptions(signalr, client, about) {
            const options = { transport: signalr.HttpTransportType[about.transport], logger: client.logger };
            if (about.skipNegotiation) { options.skipNegotiation = true; }
            if (about.token) { options.accessTokenFactory = () => about.token; }
            return options;
        }

        function build(client, about) {
            const signalr = client.signalr = packages[about.package];
            const builder = new signalr.HubConnectionBuilder().withUrl(about.url, httpOptions(signalr, client, about));
            builder.configureLogging(client.logger);
            if (about.protocol === "messagepack") {
                const { MessagePackHubProtocol } = packages[`${about.package}-protocol-msgpack`];
                builder.withHubProtocol(new MessagePackHubProtocol());
            }
            if (about.reconnect) { builder.withAutomaticReconnect(about.reconnect); }
            if (about.stateful) { builder.withStatefulReconnect(); }
            return builder.build();
        }

        const commands = {
            // Lives of hub connections

            async start(client, about) {
                const connection = client.connection = build(client, about);
                for (const name of about.listen) {
                    connection.on(name, (...values) => { client.note("heard", name, ...values); });
                }
                connection.on("question", (text) => {
                    client.note("asked", text);
                    if (text === "fail") { throw new Error("I will not say"); }
                    return text === "never" ? new Promise(() => undefined) : `${text}? Yes!`;
                });
                connection.onclose((error) => { client.note("closed", textOf(error)); });
                if (about.reconnect) {
                    connection.onreconnecting((error) => { client.note("reconnecting", textOf(error)); });
                    connection.onreconnected((id) => { client.note("reconnected", id); });
                }
                await connection.start();
                return connection.connectionId || null;
            },
            stop: (client) => outcome(client.connection.stop()),
            // Of all clients that there are.
            async stopAll() {
                const all = Object.values(clients).filter((each) => each.connection);
                await Promise.all(all.map((each) => outcome(each.connection.stop())));
                for (const name of Object.keys(clients)) { delete clients[name]; }
            },
            state: (client) => client.connection.state,

            // Calls

            call: (client, about) => outcome(client.connection.invoke(about.method, ...client.arguments(about.values))),
            begin(client, about) {
                const call = client.connection.invoke(about.method, ...client.arguments(about.values));
                outcome(call).then((result) => { client.note("outcome", about.name, result); });
            },
            send: (client, about) => outcome(client.connection.send(about.method, ...client.arguments(about.values))),
            // One call for each value, and nobody waits for anything.
            sendEach(client, about) {
                for (const value of about.values) {
                    client.connection.send(about.method, value).catch(
                        (error) => { client.note("not sent", value, textOf(error)); });
                }
            },
            // One call for each value, so many at a time; gives what went wrong.
            async callEach(client, about) {
                const left = [...about.values], errors = [];
                const caller = async () => {
                    while (left.length > 0) {
                        const value = left.shift();
                        const result = await outcome(client.connection.invoke(about.method, ...about.before, value));
                        if ("error" in result) { errors.push(result.error); }
                    }
                };
                await Promise.all(Array.from({ length: about.atOnce }, caller));
                return errors;
            },

            // Streams

            stream(client, about) {
                const stream = client.connection.stream(about.method, ...client.arguments(about.values));
                client.streams[about.name] = stream.subscribe({
                    next: (item) => { client.note("item", about.name, item); },
                    complete: () => { client.note("complete", about.name); },
                    error: (error) => { client.note("failed", about.name, textOf(error)); },
                });
            },
            cancel(client, about) { client.streams[about.name].dispose(); },
            feed(client, about) { about.items.forEach((item) => { client.uploads[about.name].next(read(item)); }); },
            finish(client, about) {
                const upload = client.uploads[about.name];
                if (about.error === null) { upload.complete(); } else { upload.error(new Error(about.error)); }
            },

            // Raw connections, with the class on which those of hubs stand

            async startRaw(client, about) {
                const signalr = packages[about.package];
                const options = httpOptions(signalr, client, about);
                const { constructor } = new signalr.HubConnectionBuilder().withUrl(about.url, options).build().connection;
                const connection = client.connection = new constructor(about.url, options);
                connection.onreceive = (data) => { client.note("received", data); };
                connection.onclose = (error) => { client.note("closed", textOf(error)); };
                await connection.start(signalr.TransferFormat[about.format]);
                return connection.connectionId || null;
            },
            sendRaw: (client, about) => outcome(client.connection.send(read(about.data))),

            // What was seen

            seen: (client) => client.seen,
            complaints: (client) => client.complaints,
            forget(client) { client.seen = []; },
            until: (client, about) => client.until(about.event, about.within),
        };

        // Promises what comes of a command to the connection called `about.client`; the first one to it makes it.
        return async function obey(command, about) {
            const client = clients[about.client] || (clients[about.client] = new Client());
            const value = await commands[command](client, about);
            return value === undefined ? null : value;
        };
    };
});
