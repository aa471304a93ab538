// What all pages with @microsoft/signalr do: make the connection, show how it is, and start again after a long absence.
function makeConnection(path) {
  const asked = new URLSearchParams(location.search).get("transport");      // ?transport=LongPolling takes only that
  const options = asked ? { transport: signalR.HttpTransportType[asked] } : {};
  return new signalR.HubConnectionBuilder().withUrl(path, options)
    .withAutomaticReconnect()                   // at once, then after 2, 10 and 30 seconds
    .configureLogging(signalR.LogLevel.None)    // what goes wrong is on the page
    .build();
}

function startHub(connection, ready) {
  function show(state) {
    document.body.dataset.state = state;
    document.querySelector("#state").textContent = state;
  }
  function start() {
    show("connecting");
    connection.start().then(function () { show("connected"); ready(); }, again);
  }
  function again() {                            // the server was away for too long
    show("disconnected");
    setTimeout(start, 3000);
  }
  connection.onreconnecting(function () { show("reconnecting"); });
  connection.onreconnected(function () { show("connected"); ready(); });    // a new connection: ask for everything anew
  connection.onclose(again);
  start();
}
