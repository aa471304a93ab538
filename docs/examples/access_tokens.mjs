import { HubConnectionBuilder, LogLevel } from "@microsoft/signalr";

const origin = process.argv[2];
const accessTokenFactory = async () => (await fetch(`${origin}/token`)).text();  // asked before every request

const ann = new HubConnectionBuilder().withUrl(`${origin}/letters`, { accessTokenFactory }).build();
await ann.start();
console.log(await ann.invoke("whoAmI"));
await ann.stop();

const nobody = new HubConnectionBuilder().withUrl(`${origin}/letters`).configureLogging(LogLevel.None).build();
await nobody.start().catch((error) => { console.log(error.message.includes("Status code '401'")); });
