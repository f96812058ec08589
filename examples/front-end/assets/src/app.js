import escape from "escape-html";

const books = ["Adopting Erlang", "Elixir in Action", "Programming Erlang"];
const list = document.getElementById("shelf");
list.innerHTML = books.map((title) => `<li>${escape(title)}</li>`).join("");
