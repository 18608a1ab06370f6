// For Node, preloaded by vault run by NODE_OPTIONS. Before 22.21 and 24.5 its
// fetch, http and https know no proxy; after that they read NODE_USE_ENV_PROXY,
// but for agents that programs make themselves (new https.Agent({keepAlive: true})).
//
// It goes by HTTPS_PROXY and NO_PROXY, as vault run has set them, and changes
// only what is Node's own: agents and dispatchers that connect in their own way
// decide for themselves.
"use strict";
(() => {
  const [major, minor] = process.versions.node.split(".").map(Number);
  const native = major > 24 || (major === 24 && minor >= 5) || (major === 22 && minor >= 21);
  const done = Symbol.for("agent-vault.proxy");
  if (major < 16 || process.versions.bun || globalThis[done] || !process.env.HTTPS_PROXY) return;
  Object.defineProperty(globalThis, done, { value: true });

  const http = require("http");
  const https = require("https");
  const net = require("net");
  const stream = require("stream");
  const tls = require("tls");

  const proxy = new URL(process.env.HTTPS_PROXY);
  if (proxy.protocol !== "http:") return;
  const way = { host: proxy.hostname.replace(/^\[|\]$/g, ""), port: Number(proxy.port || 80) };
  const login = proxy.username && "Basic " + Buffer.from(decodeURIComponent(proxy.username) + ":" + decodeURIComponent(proxy.password)).toString("base64");
  const credentials = login ? { "Proxy-Authorization": login } : {};
  const without = (process.env.NO_PROXY || "").toLowerCase().split(/[\s,]+/).filter(Boolean).map((e) => e.replace(/^\*?\./, ""));

  // direct says who is not reached by the proxy: the proxy, and what NO_PROXY
  // names, hosts and all below them.
  const direct = (host, port) => {
    host = String(host || "localhost").toLowerCase().replace(/^\[|\]$/g, "");
    return (host === way.host && Number(port) === way.port) || without.some((e) => host === e || host.endsWith("." + e) || host + ":" + port === e);
  };

  // tunnel calls back with a connection to host:port.
  const tunnel = (host, port, callback) => {
    const authority = (net.isIPv6(host) ? "[" + host + "]" : host) + ":" + port;
    const req = http.request({ ...way, method: "CONNECT", path: authority, headers: { Host: authority, ...credentials }, agent: false });
    req.on("error", callback);
    req.on("connect", (res, socket, head) => {
      if (res.statusCode !== 200) {
        socket.destroy();
        callback(Object.assign(new Error("the proxy answered CONNECT " + authority + " with " + res.statusCode), { code: "ERR_PROXY_TUNNEL" }));
        return;
      }
      if (head.length > 0) socket.unshift(head);
      callback(null, socket);
    });
    req.end();
  };

  // A Later is a connection to host:port before it is there, for agents that want
  // one at once.
  class Later extends stream.Duplex {
    constructor(host, port) {
      super();
      tunnel(host, port, (err, socket) => {
        if (err || this.destroyed) {
          if (socket) socket.destroy();
          return this.destroy(err);
        }
        this.socket = socket;
        socket.on("data", (d) => this.push(d) || socket.pause());
        socket.on("end", () => this.push(null));
        socket.on("error", (e) => this.destroy(e));
        socket.on("close", () => this.destroy());
        this.emit("there");
      });
    }
    whenThere(f) {
      if (this.socket) f();
      else this.once("there", f);
    }
    _read() {
      if (this.socket) this.socket.resume();
    }
    _write(chunk, encoding, callback) {
      this.whenThere(() => this.socket.write(chunk, encoding, callback));
    }
    _final(callback) {
      this.whenThere(() => this.socket.end(callback));
    }
    _destroy(err, callback) {
      if (this.socket) this.socket.destroy();
      callback(err);
    }
  }

  // minds says whether Node itself leads this agent through the proxy.
  const minds = (agent) => native && agent.options && agent.options.proxyEnv;

  const createTLS = https.Agent.prototype.createConnection;
  const overTunnel = function (options, callback, ...rest) {
    if (!options || minds(this) || options.socket || options.socketPath || direct(options.host, options.port)) {
      return createTLS.call(this, options, callback, ...rest);
    }
    if (this.createConnection !== overTunnel || typeof callback !== "function") {
      // A class of its own may want what we return.
      const later = new Later(options.host, options.port);
      const secure = createTLS.call(this, { ...options, socket: later });
      for (const name of ["ref", "unref"]) secure[name] = () => (later.whenThere(() => later.socket[name]()), secure);
      return secure;
    }
    tunnel(options.host, options.port, (err, socket) => {
      if (err) return callback(err);
      try {
        callback(null, createTLS.call(this, { ...options, socket }));
      } catch (e) {
        callback(e);
      }
    });
  };
  https.Agent.prototype.createConnection = overTunnel;

  const { addRequest, createSocket } = http.Agent.prototype;
  http.Agent.prototype.addRequest = function (req, options, ...rest) {
    const ours = !minds(this) && this.protocol === "http:" && this.createSocket === createSocket && !options.socketPath && !req._header && req.path.startsWith("/");
    if (ours && !direct(options.host, options.port)) {
      const port = !options.port || Number(options.port) === 80 ? "" : ":" + options.port;
      req.path = "http://" + (net.isIPv6(options.host) ? "[" + options.host + "]" : options.host) + port + req.path;
      for (const name of Object.keys(credentials)) req.setHeader(name, credentials[name]);
      options = { ...options, ...way };
    }
    return addRequest.call(this, req, options, ...rest);
  };

  const symbol = Symbol.for("undici.globalDispatcher.1");
  const nodes = globalThis.fetch;
  if (native || typeof nodes !== "function") return;
  // What Node's fetch sends by is made when it is first used.
  const first = function fetch(...args) {
    if (globalThis.fetch === first) globalThis.fetch = nodes;
    void globalThis.Headers; // loads it
    const dispatcher = globalThis[symbol];
    if (dispatcher && dispatcher.constructor.name === "Agent") globalThis[symbol] = proxied(dispatcher.constructor);
    return nodes.apply(this, args);
  };
  Object.defineProperty(globalThis, "fetch", { value: first, writable: true, configurable: true, enumerable: true });

  const proxied = (Agent) => {
    const connect = (options, callback) => {
      const port = Number(options.port) || (options.protocol === "https:" ? 443 : 80);
      const secure = (socket) => {
        const names = { host: options.hostname, port, servername: options.servername || (net.isIP(options.hostname) ? "" : options.hostname), ALPNProtocols: ["http/1.1"] };
        const c = tls.connect(socket ? { ...names, socket } : names, () => callback(null, c));
        c.once("error", callback);
      };
      if (options.protocol !== "https:") {
        const c = net.connect({ host: options.hostname, port }, () => callback(null, c));
        c.once("error", callback);
      } else if (direct(options.hostname, port)) {
        secure(null);
      } else {
        tunnel(options.hostname, port, (err, socket) => (err ? callback(err) : secure(socket)));
      }
    };
    return new (class extends Agent {
      dispatch(options, handler) {
        const to = new URL(options.origin);
        if (to.protocol === "http:" && !direct(to.hostname, to.port || 80)) {
          const more = { host: to.host, ...credentials };
          const headers = Array.isArray(options.headers) ? [...options.headers, ...Object.entries(more).flat()] : { ...options.headers, ...more };
          options = { ...options, origin: "http://" + proxy.host, path: to.origin + options.path, headers };
        }
        return super.dispatch(options, handler);
      }
    })({ connect });
  };
})();
