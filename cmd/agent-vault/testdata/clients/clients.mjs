// LIBRARY CELL URL FILE: what the matrix of clients asks of each library. BY_PATH
// and PROXY_AGENT: as recipes say.
import {createHash} from "node:crypto";
import {createReadStream, readFileSync} from "node:fs";
import https from "node:https";

const [library, cell, given, file] = process.argv.slice(2);
let url = given, headers = {};
if (process.env.BY_PATH) { // the path entrance, which needs no proxy and no certificate
  url = url.replace("https://", process.env.AGENT_VAULT_ADDR + "/proxy/");
  headers = {Authorization: "Bearer " + process.env.AGENT_VAULT_SESSION_TOKEN};
}

async function digest(pieces) {
  const hash = createHash("sha256");
  for await (const piece of pieces) hash.update(piece);
  console.log(hash.digest("hex"));
}

async function lines(pieces) {
  for await (const piece of pieces) console.log(Buffer.from(piece).toString().trim());
}

async function fetched(fetch) {
  if (cell === "websocket") return socket(process.env.PROXY_AGENT ? new WebSocket(url, {proxy: process.env.HTTPS_PROXY}) : new WebSocket(url));
  const options = cell === "upload" ? {method: "PUT", body: readFileSync(file)} : {};
  const answer = await fetch(url, {headers, ...options});
  if (cell === "stream") await digest(answer.body);
  else if (cell === "events") await lines(answer.body);
  else console.log(answer.status, await answer.text());
}

function socket(ws) {
  return new Promise((resolve, reject) => {
    ws.onopen = () => ws.send("hello");
    ws.onmessage = (m) => { console.log(String(m.data)); ws.close(); resolve(); };
    ws.onerror = (e) => reject(e.error ?? new Error(e.message ?? "websocket"));
  });
}

// proxyAgent is what recipes hand to libraries that have an agent of their own.
const proxyAgent = () => process.env.PROXY_AGENT ? new https.Agent({proxyEnv: process.env}) : undefined;

const libraries = {
  fetch: () => fetched(fetch),
  async undici() {
    await fetched((await import("undici")).fetch);
  },
  async axios() {
    const {default: axios} = await import("axios");
    const options = {responseType: ["stream", "events"].includes(cell) ? "stream" : "text", validateStatus: () => true};
    const answer = cell === "upload" ? await axios.put(url, createReadStream(file), options) : await axios.get(url, options);
    if (cell === "stream") await digest(answer.data);
    else if (cell === "events") await lines(answer.data);
    else console.log(answer.status, answer.data);
  },
  async got() {
    const {default: got} = await import("got");
    const options = {throwHttpErrors: false, retry: {limit: 0}, http2: cell === "http2", headers};
    if (cell === "stream") await digest(got.stream(url, options));
    else if (cell === "events") await lines(got.stream(url, options));
    else if (cell === "upload") console.log((await got.put(url, {...options, body: createReadStream(file)})).statusCode);
    else {
      const answer = await got(url, options);
      console.log("HTTP/" + answer.httpVersion, answer.statusCode, answer.body);
    }
  },
  async https() {
    await new Promise((resolve, reject) => {
      const request = https.request(url, {method: cell === "upload" ? "PUT" : "GET", headers}, async (answer) => {
        if (cell === "stream") await digest(answer);
        else await lines(answer);
        resolve();
      }).on("error", reject);
      if (cell === "upload") createReadStream(file).pipe(request);
      else request.end();
    });
  },
  async ws() {
    const {default: WebSocket} = await import("ws");
    await socket(new WebSocket(url, {agent: proxyAgent()}));
  },
  async openai() {
    const {default: OpenAI} = await import("openai");
    const client = new OpenAI({apiKey: "dummy", maxRetries: 0, baseURL: cell === "refused" ? "https://refused.test/v1" : undefined});
    const ask = {model: "m", messages: [{role: "user", content: "hello"}]};
    if (cell === "stream") await digest((await client.files.content("f")).body);
    else if (cell === "upload") await client.files.create({file: createReadStream(file), purpose: "assistants"});
    else if (cell === "events") {
      for await (const chunk of await client.chat.completions.create({...ask, stream: true})) console.log(chunk.choices[0].delta.content);
    } else console.log((await client.chat.completions.create(ask)).choices[0].message.content);
  },
  async anthropic() {
    const {default: Anthropic} = await import("@anthropic-ai/sdk");
    const client = new Anthropic({apiKey: "dummy", maxRetries: 0, baseURL: cell === "refused" ? "https://refused.test" : undefined});
    const ask = {model: "m", max_tokens: 10, messages: [{role: "user", content: "hello"}]};
    if (cell === "upload") await client.beta.files.upload({file: createReadStream(file)});
    else if (cell === "events") {
      for await (const event of await client.messages.create({...ask, stream: true})) console.log(event.delta?.text ?? "");
    } else console.log((await client.messages.create(ask)).content[0].text);
  },
  async stripe() {
    const {default: Stripe} = await import("stripe");
    const stripe = new Stripe("sk_test_dummy", {maxNetworkRetries: 0, ...(process.env.PROXY_AGENT ? {httpClient: Stripe.createFetchHttpClient()} : {}), ...(cell === "refused" ? {host: "refused.test"} : {})});
    if (cell === "upload") await stripe.files.create({purpose: "dispute_evidence", file: {data: readFileSync(file), name: "f", type: "text/plain"}});
    else console.log((await stripe.customers.retrieve("cus_1")).description);
  },
  async octokit() {
    const {Octokit} = await import("octokit");
    const octokit = new Octokit({auth: "dummy", ...(cell === "refused" ? {baseUrl: "https://refused.test"} : {})});
    if (cell === "stream") await digest([Buffer.from((await octokit.request("GET /repos/o/r/tarball")).data)]);
    else if (cell === "upload") {
      await octokit.request("POST https://uploads.github.com/repos/o/r/releases/1/assets?name=f", {data: readFileSync(file), headers: {"content-type": "application/octet-stream"}});
    } else console.log((await octokit.request("GET /user")).data.login);
  },
  async aws() {
    const {S3Client, ListBucketsCommand, GetObjectCommand, PutObjectCommand} = await import("@aws-sdk/client-s3");
    const s3 = new S3Client({region: "us-east-1", forcePathStyle: true, maxAttempts: 1, ...(process.env.PROXY_AGENT ? {requestHandler: {httpsAgent: proxyAgent()}} : {}), credentials: {accessKeyId: "dummy", secretAccessKey: "dummy"}, ...(cell === "refused" ? {endpoint: "https://refused.test"} : {})});
    if (cell === "stream") await digest((await s3.send(new GetObjectCommand({Bucket: "bucket", Key: "content"}))).Body);
    else if (cell === "upload") await s3.send(new PutObjectCommand({Bucket: "bucket", Key: "upload", Body: readFileSync(file)}));
    else console.log((await s3.send(new ListBucketsCommand({}))).Buckets[0].Name);
  },
  async ai() {
    const {generateText, streamText} = await import("ai");
    const {createOpenAI} = await import("@ai-sdk/openai");
    const openai = createOpenAI({apiKey: "dummy", ...(cell === "refused" ? {baseURL: "https://refused.test/v1"} : {})});
    const ask = {model: openai.chat("m"), prompt: "hello", maxRetries: 0};
    if (cell === "events") {
      for await (const text of streamText(ask).textStream) console.log(text);
    } else console.log((await generateText(ask)).text);
  },
};

await libraries[library]();
process.exit(0); // pooled connections keep some of them
