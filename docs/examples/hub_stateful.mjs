import { HttpTransportType, HubConnectionBuilder } from "@microsoft/signalr";

const connection = new HubConnectionBuilder()
  .withUrl(`${process.argv[2]}/diary`, { transport: HttpTransportType.WebSockets })
  .withStatefulReconnect()                 // the same connection goes on, if it can
  .withAutomaticReconnect()                // else a new one begins
  .build();
connection.onreconnected(() => { console.log("a new connection"); });

await connection.start();
console.log(await connection.invoke("write", "It rains."));
console.log(await connection.invoke("write", "Still."));
await connection.stop();
