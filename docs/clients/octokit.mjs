// GitHub: Octokit writes "token" before what it is given as auth, and the vault
// wants "Bearer".
import {Octokit} from "octokit";

const octokit = new Octokit({baseUrl: process.env.AGENT_VAULT_ADDR + "/proxy/api.github.com"});
octokit.hook.before("request", (request) => {
  request.headers.authorization = "Bearer " + process.env.AGENT_VAULT_SESSION_TOKEN;
});
console.log((await octokit.request("GET /user")).data.login);
