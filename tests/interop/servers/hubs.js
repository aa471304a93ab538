// What a page of a user does with the hubs of the unmodified client; keeps what it saw for the test to read.
"use strict";
var seen = { calls: [], states: [], messages: [], outcomes: {} };

// A function for the server to call.
function record(hub, name) {
    return function () { seen.calls.push([hub, name].concat($.makeArray(arguments))); };
}

// Watches a connection, starts it, and says as whom and how.
function begin(connection, transport) {
    var names = {};
    $.each($.signalR.connectionState, function (name, number) { names[number] = name; });
    connection.stateChanged(function (change) { seen.states.push(names[change.newState]); });
    connection.received(function (message) { seen.messages.push(message); });
    return new Promise(function (resolve, reject) {
        connection.start({ transport: transport })
            .done(function () { resolve({ id: connection.id, transport: connection.transport.name }); })
            .fail(function (error) { reject(new Error(String(error && error.message))); });
    });
}

// `hubs` says which functions of which hubs there are; `style` is "client" or "proxy", where to put them.
function start(hubs, style, transport) {
    $.each(hubs, function (hub, names) {
        var proxy = $.connection[hub];
        $.each(names, function (_, name) { (style === "proxy" ? proxy : proxy.client)[name] = record(hub, name); });
    });
    return begin($.connection.hub, transport);
}

// What became of a call: a promise of { value }, or { error, source, data }, each with its progress.
function outcome(call) {
    var progress = [];
    return new Promise(function (resolve) {
        call.progress(function (value) { progress.push(value); })
            .done(function (value) { resolve({ value: value === undefined ? "nothing" : value, progress: progress }); })
            .fail(function (error) {
                resolve({ error: error.message, source: error.source, data: error.data, progress: progress });
            });
    });
}

// The same, for a test that does not wait for it: it will be in `seen.outcomes`; reports of progress come as calls.
function await_(name, call) {
    call.progress(function (value) { seen.calls.push([name, "progress", value]); });
    outcome(call).then(function (result) { seen.outcomes[name] = result; });
}
