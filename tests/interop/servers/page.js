// What a page of a user does with the unmodified client; keeps what it saw for the test to read.
"use strict";
var connection = null;
var seen = { received: [], states: [], errors: [], slow: 0 };

function start(url, options, query) {
    var names = {};
    $.each($.signalR.connectionState, function (name, number) { names[number] = name; });
    connection = $.connection(url, query);
    connection.received(function (data) { seen.received.push(data); });
    connection.stateChanged(function (change) { seen.states.push(names[change.newState]); });
    connection.error(function (error) { seen.errors.push(String(error && error.message)); });
    connection.connectionSlow(function () { seen.slow += 1; });
    return new Promise(function (resolve, reject) {
        connection.start(options)
            .done(function () { resolve({ id: connection.id, transport: connection.transport.name }); })
            .fail(function (error) { reject(new Error(String(error && error.message))); });
    });
}

// A WebSocket of the page's own, as somebody else's page would open it: says how it ended up.
function tryWebSocket(url) {
    return new Promise(function (resolve) {
        var socket = new WebSocket(url);
        socket.onopen = function () { resolve("open"); socket.close(); };
        socket.onerror = function () { resolve("refused"); };
    });
}
