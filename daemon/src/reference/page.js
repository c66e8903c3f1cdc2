// Shows the OpenAPI document that the page names: every operation, its schemas, a curl line, and a form for those that
// read.

/** Where a path of the document is: the service may be behind a prefix. */
const located = (path) => new URL(document.body.dataset.root + path.slice(1), document.baseURI).href;

const document_ = await (await fetch(document.body.dataset.document)).json();

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const resolve = (schema) =>
  schema?.$ref ? schema.$ref.slice(2).split("/").reduce((at, part) => at[part], document_) : schema;

/** A schema as an example of its shape: names and types, with the meaning behind. */
function shape(schema, indent = "", seen = []) {
  const name = schema?.$ref;
  if (name && seen.includes(name)) return name.split("/").pop();
  const inner = name ? [...seen, name] : seen;
  schema = resolve(schema) ?? {};
  const variants = schema.oneOf ?? schema.anyOf;
  if (variants) return variants.map((variant) => shape(variant, indent, inner)).join(" | ");
  if (schema.allOf) return schema.allOf.map((part) => shape(part, indent, inner)).join(" & ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const type = [schema.type ?? "any"].flat();
  if (type.includes("array")) return `[${shape(schema.items, indent, inner)}, …]`;
  if (!schema.properties) return type.map((one) => (one === "string" && schema.format) || one).join(" | ");
  const deeper = `${indent}  `;
  const lines = Object.entries(schema.properties).map(([key, value]) => {
    const told = (value.description ?? "").split("\n")[0];
    return `${deeper}"${key}": ${shape(value, deeper, inner)}${told ? `  // ${told}` : ""}`;
  });
  return `{\n${lines.join("\n")}\n${indent}}`;
}

function content(body) {
  return Object.entries(body?.content ?? {}).map(([type, { schema }]) =>
    element("details", {}, element("summary", {}, element("code", {}, type)), element("pre", {}, shape(schema))));
}

// With the braces of its parameters as they are.
const readable = (path) => located(path).replace(/%7B/gi, "{").replace(/%7D/gi, "}");

function curl(path, method, parameters) {
  const query = parameters.filter((p) => p.in === "query" && p.required).map((p) => `${p.name}=…`);
  const url = `${readable(path)}${query.length ? `?${query.join("&")}` : ""}`;
  if (method === "get") return `curl '${url}'`;
  return path.endsWith("/frames")
    ? `curl --data-binary @image.jpg -H 'content-type: image/jpeg' '${url}'`
    : `curl --request ${method.toUpperCase()} '${url}'`;
}

/** A form that sends the request, and shows what comes back. */
function trial(path, parameters) {
  const inputs = parameters.filter((p) => p.in !== "header").map((p) => {
    const input = element("input", { name: p.name, placeholder: p.required ? "required" : "" });
    return { p, input };
  });
  const output = element("div", { "aria-live": "polite" });
  const form = element("form", {}, ...inputs.map(({ p, input }) => element("label", {}, p.name, input)),
    element("button", {}, "Send"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    let named = path;
    const query = new URLSearchParams();
    for (const { p, input } of inputs) {
      if (p.in === "path") named = named.replace(`{${p.name}}`, encodeURIComponent(input.value));
      else if (input.value) query.set(p.name, input.value);
    }
    const url = located(named) + (query.size ? `?${query}` : "");
    try {
      const token = document.getElementById("token").value;
      const answer = await fetch(url, { headers: token ? { authorization: `Bearer ${token}` } : {} });
      const type = answer.headers.get("content-type") ?? "";
      const told = element("p", {}, `${answer.status} ${answer.statusText} ${type}`);
      if (answer.ok && type.startsWith("image/")) {
        output.replaceChildren(told, element("img", { src: url, alt: "the image that was answered" }));
        return;
      }
      const text = await answer.text();
      const json = type.startsWith("application/json");
      output.replaceChildren(told, element("pre", {}, json ? JSON.stringify(JSON.parse(text), null, 2) : text.slice(0, 20000)));
    } catch (error) {
      output.replaceChildren(element("p", {}, `No answer: ${error.message}`));
    }
  });
  return element("details", {}, element("summary", {}, "Try it"), form, output);
}

function operation(path, method, told) {
  const id = `${method}-${path.replace(/[^a-z0-9]+/gi, "-")}`;
  const parameters = told.parameters ?? [];
  const title = () => [element("span", { class: "method" }, method.toUpperCase()), element("code", {}, path)];
  const article = element("article", { id },
    element("h2", {}, ...title()), element("p", {}, told.summary ?? ""), element("p", { class: "faint" }, told.description ?? ""));
  if (parameters.length) {
    const rows = parameters.map((p) => element("tr", {},
      element("td", {}, element("code", {}, p.name)), element("td", {}, `${p.in}${p.required ? ", required" : ""}`),
      element("td", {}, shape(p.schema)), element("td", {}, p.description ?? "")));
    article.append(element("h3", {}, "Parameters"), element("table", {}, ...rows));
  }
  if (told.requestBody) article.append(element("h3", {}, "Body"), ...content(told.requestBody));
  const answers = Object.entries(told.responses ?? {}).map(([status, answer]) => element("tr", {},
    element("td", {}, element("code", {}, status)), element("td", {}, answer.description, ...content(answer))));
  article.append(element("h3", {}, "Answers"), element("table", {}, ...answers),
    element("pre", {}, curl(path, method, parameters)));
  const endless = JSON.stringify(told.responses ?? {}).includes("text/event-stream");
  if (method === "get" && !endless) article.append(trial(path, parameters));
  const link = element("a", { href: `#${id}` }, ...title());
  document.getElementById("index").append(element("li", {}, link));
  document.getElementById("operations").append(article);
}

const { title, version, description } = document_.info;
document.title = title;
document.querySelector("h1").textContent = `${title} ${version}`;
document.getElementById("about").textContent = description ?? "";
for (const [path, methods] of Object.entries(document_.paths)) {
  for (const [method, told] of Object.entries(methods)) operation(path, method, told);
}
