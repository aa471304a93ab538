import { HubConnectionBuilder, Subject } from "@microsoft/signalr";

const connection = new HubConnectionBuilder().withUrl(`${process.argv[2]}/scales`).build();
await connection.start();

// From the server
await new Promise((resolve, reject) => {
  connection.stream("countDown", 3).subscribe({ next: (number) => console.log(number), complete: resolve, error: reject });
});

// From us
const weights = new Subject();
const total = connection.invoke("record", "kitchen", weights);
for (const weight of [1.5, 2, 0.5]) weights.next(weight);
weights.complete();                        // or weights.error(new Error("The scale fell down."))
console.log("total", await total);

// Both, and we have enough after two
const raw = new Subject();
await new Promise((resolve) => {
  const smooth = connection.stream("smooth", raw, 2).subscribe({
    next: (weight) => { console.log("smooth", weight); if (weight === 2) { smooth.dispose(); resolve(); } },
    error: () => undefined,
  });
  raw.next(1);
  raw.next(3);
});

await connection.stop();
