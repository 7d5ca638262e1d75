// One call of Node: ask.js fetch|https|http URL AUTHORITY [BYTES], with a POST of BYTES bytes where they are given. Prints what
// came back or the error, and when.

const [library, url, authority, size] = process.argv.slice(2);
const body = size ? 'x'.repeat(Number(size)) : undefined;
const method = body ? 'POST' : 'GET';

function end(...words) {
    console.log(...words);
    console.log(`ended ${((performance.timeOrigin + performance.now()) / 1000).toFixed(6)}`);
}

function failed(error) {
    end(String(error), error.cause ? `[cause] ${error.cause.code}: ${error.cause.message}` : error.code);
}

if (library === 'fetch') {
    fetch(url, {method, body}).then(async (answer) => end(answer.status, await answer.text())).catch(failed);
} else {
    const ca = library === 'https' ? require('fs').readFileSync(authority) : undefined;
    const request = require(library).request(url, {method, ca}, (answer) => {
        let text = '';
        answer.on('data', (part) => { text += part; }).on('end', () => end(answer.statusCode, text)).on('error', failed);
    });
    request.on('error', failed);
    request.end(body);
}
