<?php
// CELL URL FILE: what the matrix of clients asks of curl in PHP.
[, $cell, $url, $file] = $argv;
$curl = curl_init($url);
$hash = hash_init("sha256");
if ($cell === "upload") {
    curl_setopt_array($curl, [CURLOPT_UPLOAD => true, CURLOPT_INFILE => fopen($file, "rb"), CURLOPT_INFILESIZE => filesize($file)]);
}
curl_setopt($curl, CURLOPT_WRITEFUNCTION, function ($curl, $piece) use ($cell, $hash) {
    if ($cell === "stream") {
        hash_update($hash, $piece);
    } else {
        echo $piece;
    }
    return strlen($piece);
});
if (!curl_exec($curl)) {
    fwrite(STDERR, curl_error($curl) . "\n");
    exit(1);
}
if ($cell === "stream") {
    echo hash_final($hash), "\n";
}
if (curl_getinfo($curl, CURLINFO_HTTP_VERSION) === CURL_HTTP_VERSION_2_0) {
    echo "HTTP/2\n";
}
