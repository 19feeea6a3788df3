// Reads the CSV files of a directory again and again, as a person would, and prints
// what DuckDB makes of them: node duckdb.mjs DIRECTORY TIMES
import { DuckDBInstance } from "@duckdb/node-api";

const [directory, times] = process.argv.slice(2);
const db = await (await DuckDBInstance.create(":memory:")).connect();
const rows = async (sql) => (await db.runAndReadAll(sql)).getRowsJson();
const files = `read_csv('${directory}/*.csv', filename = true)`;

for (let i = 0; i < Number(times); i++) {
  const types = {};
  for (const [name, type] of await rows(`DESCRIBE SELECT * EXCLUDE filename FROM ${files}`)) types[name] = type;
  const perFile = await rows(`SELECT count(*), count(DISTINCT name), sum(duration_ns)::BIGINT FROM ${files} GROUP BY filename`);
  console.log(JSON.stringify({ types, perFile: perFile.map((row) => row.map(Number)) }));
}
const [name] = await rows(`SELECT name FROM ${files} LIMIT 1`);
console.log(JSON.stringify(name[0]));
