import { HubConnectionBuilder } from "@microsoft/signalr";
import { MessagePackHubProtocol } from "@microsoft/signalr-protocol-msgpack";

async function darker(path, picture) {
  const connection = new HubConnectionBuilder()
    .withUrl(process.argv[2] + path)
    .withHubProtocol(new MessagePackHubProtocol())
    .build();
  await connection.start();
  const result = await connection.invoke("darker", picture);
  await connection.stop();
  return result;
}

const pixels = new Uint8Array([0, 128, 255]), day = new Date("2028-02-29T12:00:00Z");
console.log(await darker("/pictures", { takenAt: day, kind: 1, pixels }));
console.log(await darker("/dotnet", { TakenAt: day, Kind: "BlackAndWhite", Pixels: pixels }));
