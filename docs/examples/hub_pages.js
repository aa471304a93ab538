// What all pages of the hub examples do: start the connection, show how it is, and start again after a long absence.
function startHubs(ready) {
  const words = { 0: "connecting", 1: "connected", 2: "reconnecting", 4: "disconnected" };
  const asked = new URLSearchParams(location.search).get("transport");      // ?transport=longPolling takes only that
  const hub = $.connection.hub;

  function start() {
    hub.start(asked ? { transport: asked } : {}).done(function () {
      $("#state").text("connected: " + hub.transport.name);
      ready();
    });
  }

  hub.stateChanged(function (change) {
    document.body.dataset.state = words[change.newState];
    $("#state").text(words[change.newState]);
  });
  hub.reconnected(ready);                       // what came meanwhile is here already; the page may want to ask anew
  hub.disconnected(function () {                // the server was away for too long, or is a new one
    setTimeout(start, 3000);
  });
  start();
}
