// Reads an AsyncAPI document with the AsyncAPI project's own parser: node asyncapi.mjs <modules folder> <file>
// Errors fail; warnings are printed. Examples of messages are checked by contracts.py.
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const [modules, file] = process.argv.slice(2);
const { Parser } = createRequire(join(modules, 'package.json'))('@asyncapi/parser');
const { document, diagnostics } = await new Parser().parse(await readFile(file, 'utf8'), { source: file });

const errors = diagnostics.filter((found) => found.severity === 0);
for (const found of diagnostics.filter((found) => found.severity <= 1)) {
  console.error(`${found.severity === 0 ? 'error' : 'warning'} at ${found.path.join('/')}: ${found.message} (${found.code})`);
}
if (errors.length > 0 || document === undefined) {
  console.error(`${file}: ${errors.length} errors`);
  process.exit(1);
}

const channels = document.channels().length;
const operations = document.operations().length;
const messages = document.messages().length;
if (document.version() !== '3.0.0' || channels === 0 || operations === 0 || messages === 0) {
  console.error(`${file}: AsyncAPI ${document.version()} with ${channels} channels, ${operations} operations, ${messages} messages`);
  process.exit(1);
}
console.log(`asyncapi.yaml: AsyncAPI 3.0.0, ${channels} channels, ${operations} operations, ${messages} messages`);
