/* Text for the notebook: names as SQL takes them, and where they go. */

const PLAIN = /^[a-z_][a-z0-9_]*$/;
const RESERVED = new Set(
  (
    'all and any array as asc between by case cast check collate column constraint create cross current_date current_time current_timestamp ' +
    'default desc distinct else end except exists extract false fetch for foreign from full grant group having in inner intersect interval ' +
    'into is join lateral left like limit natural not null offset on or order outer over partition primary qualify references right row rows ' +
    'select set similar some table then to true union unique user using values when where window with'
  ).split(' ')
);

/** One part of a name, quoted if SQL would read it as something else. */
export function quoted(part) {
  return PLAIN.test(part) && !RESERVED.has(part) ? part : `"${part.replaceAll('"', '""')}"`;
}

/** A dataset's or table's whole name. */
export function relation(name) {
  return name.split('.').map(quoted).join('.');
}

/** A first look at a relation, in the notebook's language. */
export function query(name, language) {
  const sql = `SELECT * FROM ${relation(name)} LIMIT 100`;
  return language === 'python' ? `carrel.sql(${JSON.stringify(sql)})` : sql;
}

/** Puts text at the cursor of the active cell, and the cursor behind it. */
export function insert(panel, text) {
  const notebook = panel?.content;
  const cell = notebook?.activeCell;
  if (!cell) {
    return;
  }
  if (!cell.editor) {
    cell.model.sharedModel.setSource(cell.model.sharedModel.getSource() + text);
    return;
  }
  cell.editor.replaceSelection(text);
  notebook.mode = 'edit';
  cell.editor.focus();
}
