import { HubConnectionBuilder } from "@microsoft/signalr";

const connect = () => new HubConnectionBuilder().withUrl(`${process.argv[2]}/doors`).build();
const ann = connect(), bob = connect(), carl = connect();

bob.on("ring", async (who) => who === ann.connectionId);  // what a function returns is the answer
carl.on("ring", () => { throw new Error("no battery"); });
await Promise.all([ann, bob, carl].map((each) => each.start()));

console.log(await ann.invoke("ring", bob.connectionId));
console.log(await carl.invoke("ring", bob.connectionId));
console.log(await ann.invoke("ring", carl.connectionId));
console.log(await bob.invoke("ring", ann.connectionId));
console.log(await ann.invoke("ring", "a stranger"));

await Promise.all([ann, bob, carl].map((each) => each.stop()));
