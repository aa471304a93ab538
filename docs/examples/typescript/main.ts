import { HubConnectionBuilder } from "@microsoft/signalr";

// What the server knows, too: see board.py.
type Colour = "yellow" | "green" | "blue";

interface Note {
  id: number;
  text: string;
  colour: Colour;
  pinnedAt: string;
}

const connection = new HubConnectionBuilder()
  .withUrl("/board")
  .withAutomaticReconnect()
  .build();

// The server calls.
connection.on("notePinned", (note: Note) => show(note));
connection.on("noteTaken", (id: number) => notes.get(id)?.remove());

// We call.
async function pin(text: string, colour: Colour): Promise<void> {
  show(await connection.invoke<Note>("pin", text, colour));
}

async function takeDown(id: number): Promise<void> {
  await connection.send("takeDown", id);
}

// A stream: note by note, however many there are.
function load(): void {
  notes.clear();
  board.replaceChildren();
  connection.stream<Note>("allNotes").subscribe({
    next: show,
    complete: () => tell("connected"),
    error: complain,
  });
}

// Connections come and go.
connection.onreconnecting(() => tell("reconnecting"));
connection.onreconnected(load); // a new connection: what was pinned meanwhile, nobody has told us
connection.onclose(() => {
  tell("disconnected");
  setTimeout(start, 3000);
});

function start(): void {
  tell("connecting");
  connection.start().then(load, () => setTimeout(start, 3000));
}

// The page.
const board = document.querySelector<HTMLUListElement>("#board")!;
const form = document.querySelector<HTMLFormElement>("#form")!;
const notes = new Map<number, HTMLLIElement>();

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const data = new FormData(form);
  complain("");
  pin(data.get("text") as string, data.get("colour") as Colour).then(() => form.reset(), complain);
});

function show(note: Note): void {
  if (notes.has(note.id)) return; // pinned while the stream was under way
  const item = document.createElement("li");
  item.className = note.colour;
  item.textContent = note.text;
  item.title = new Date(note.pinnedAt).toLocaleString();
  item.addEventListener("click", () => takeDown(note.id));
  notes.set(note.id, item);
  board.append(item);
}

function tell(state: string): void {
  document.querySelector("#state")!.textContent = state;
}

function complain(error: Error | string): void {
  const text = String(error instanceof Error ? error.message : error);
  document.querySelector("#error")!.textContent = text.split("HubException: ").pop()!;
}

start();
