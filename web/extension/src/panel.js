/* The panel: relations, their columns, the figures of a column; each level is asked for when it is opened. */

import { Widget } from '@lumino/widgets';

import { query, quoted, relation } from './insert';
import { button, element, icon } from './dom';

const KINDS = { dataset: 'Datasets', table: 'Session tables', view: 'Views', model: 'Models' };
const HIDDEN = new Set(['column_name', 'column_type', 'exact']);
const LABELS = { approx_unique: 'distinct', avg: 'mean', q25: '25 %', q50: 'median', q75: '75 %', null_percentage: 'null %' };

export class DataPanel extends Widget {
  constructor(insert) {
    super();
    this.id = 'carrel-data';
    this.addClass('carrel-Data');
    this.title.icon = icon;
    this.title.caption = 'Data';
    this._insert = insert;
    this._data = null;
    this._opened = new Set();
    this._search = element('input', { type: 'search', placeholder: 'Search', 'aria-label': 'Search names, columns and descriptions' });
    this._search.addEventListener('input', () => this._filter());
    this._note = element('p', { class: 'carrel-Data-note', role: 'status' });
    this._list = element('div', { class: 'carrel-Data-list' });
    const bar = element('div', { class: 'carrel-Data-bar' }, this._search, button('Look again', '⟳', () => this._again()));
    this.node.append(bar, this._note, this._list);
    this.node.setAttribute('aria-label', 'Data');
  }

  /** Shows what this kernel knows; nothing is asked while nobody looks. */
  follow(data) {
    this._data = data;
    this._list.replaceChildren();
    this._asked = null;
    this.refresh();
  }

  onAfterShow() {
    this.refresh();
  }

  async refresh() {
    if (!this.isVisible) {
      return;
    }
    const data = this._data;
    if (!data) {
      this._list.replaceChildren();
      this._say('Open a notebook: its kernel’s datasets are shown here.');
      return;
    }
    if (!this._list.childElementCount) {
      this._say('Asking the kernel …');
    }
    try {
      const [names, language] = await Promise.all([data.names(), data.language]);
      if (data === this._data) {
        this._language = language;
        this._draw(names);
      }
    } catch (error) {
      if (data === this._data) {
        this._list.replaceChildren();
        this._say(error.message);
      }
    }
  }

  _again() {
    this._data?.reconnect();
    this._asked = null;
    this.refresh();
  }

  _say(text) {
    this._note.textContent = text;
    this._note.hidden = !text;
  }

  _draw(names) {
    const drawn = JSON.stringify(names);
    if (drawn === this._asked && this._list.childElementCount) {
      return;
    }
    this._asked = drawn;
    this._say(names.length ? '' : 'There is nothing that you may read.');
    const open = new Set(this._opened);
    this._opened.clear();
    this._list.replaceChildren();
    for (const [kind, heading] of Object.entries(KINDS)) {
      const ofKind = names.filter(one => one.kind === kind);
      if (ofKind.length) {
        const items = ofKind.map(one => this._relation(one));
        const list = element('ul', { 'aria-label': heading }, ...items.map(item => item.node));
        this._list.append(element('section', {}, element('h3', {}, heading), list));
        items.filter(item => open.has(item.key)).forEach(item => item.open());
      }
    }
    this._filter();
  }

  _relation({ name, kind, description }) {
    const extra = kind === 'model' ? [] : [button(`Insert a query of ${name}`, '≡', () => this._insert(query(name, this._language)))];
    return this._item({
      key: name,
      label: name,
      text: `${name} ${description ?? ''}`,
      hint: description,
      buttons: [...extra, button(`Insert ${name}`, '+', () => this._insert(relation(name)))],
      load: kind === 'model' ? null : async body => this._columns(body, name, await this._data.columns(name))
    });
  }

  _columns(body, name, { facts, description, columns }) {
    const figures = (facts ?? []).map(([label, value]) => `${label} ${value}`).join(' · ');
    body.append(...[description, figures].filter(Boolean).map(text => element('p', { class: 'carrel-Data-about' }, text)));
    const items = columns.map(column =>
      this._item({
        key: `${name} ${column.name}`,
        label: column.name,
        text: `${column.name} ${column.note ?? ''}`,
        hint: column.note,
        badge: column.type,
        buttons: [button(`Insert ${column.name}`, '+', () => this._insert(quoted(column.name)))],
        load: (figures, signal) => this._statistics(figures, name, column, signal)
      })
    );
    body.append(element('ul', { 'aria-label': `Columns of ${name}` }, ...items.map(item => item.node)));
  }

  async _statistics(body, name, column, signal) {
    const asked = this._data.statistics(name, column.name);
    signal.addEventListener('abort', asked.stop);
    const figures = await asked.answer;
    const shown = figures.filter(([label, value]) => value !== null && !HIDDEN.has(label));
    const rows = shown.map(([label, value]) => element('tr', {}, element('th', {}, LABELS[label] ?? label), element('td', {}, value)));
    body.append(...(column.note ? [element('p', { class: 'carrel-Data-about' }, column.note)] : []));
    body.append(element('table', { 'aria-label': `Statistics of ${column.name}` }, ...rows));
    if (figures.some(([label, value]) => label === 'exact' && value === 'false')) {
      body.append(element('p', { class: 'carrel-Data-about' }, 'Distinct values and quartiles are estimates.'));
    }
  }

  /** A line that opens: what is below is loaded once, and withdrawn if it is closed before it came. */
  _item({ key, label, text, hint, badge, buttons, load }) {
    const body = element('div', { class: 'carrel-Data-body', hidden: '' });
    const name = button('', label, () => toggle());
    name.className = 'carrel-Data-name';
    name.setAttribute('aria-label', label);
    name.title = hint ? `${label}: ${hint}` : label;
    const line = element('div', { class: 'carrel-Data-line' }, name, ...(badge ? [element('span', { class: 'carrel-Data-type' }, badge)] : []), ...buttons);
    const node = element('li', { 'data-text': text.toLowerCase() }, line, body);
    let loading = null;
    const open = async () => {
      name.setAttribute('aria-expanded', 'true');
      body.hidden = false;
      this._opened.add(key);
      if (body.childElementCount || loading) {
        return;
      }
      const started = (loading = new AbortController());
      const waiting = element('p', { class: 'carrel-Data-about' }, '…');
      body.append(waiting);
      try {
        await load(body, started.signal);
      } catch (error) {
        if (!started.signal.aborted) {
          waiting.after(element('p', { class: 'carrel-Data-error' }, error.message));
        }
      } finally {
        waiting.remove();
        loading = loading === started ? null : loading;
        this._filter();
      }
    };
    const toggle = () => {
      if (name.getAttribute('aria-expanded') !== 'true') {
        return open();
      }
      name.setAttribute('aria-expanded', 'false');
      body.hidden = true;
      this._opened.delete(key);
      loading?.abort();
      loading = null;
      // What failed or was withdrawn is asked again when it is opened again.
      if (!body.querySelector('ul, table')) {
        body.replaceChildren();
      }
    };
    if (load) {
      name.setAttribute('aria-expanded', 'false');
    } else {
      name.disabled = true;
    }
    return { key, node, open };
  }

  /** Hides what does not match; a column that matches keeps its relation. */
  _filter() {
    const words = this._search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const matches = item => words.every(word => item.dataset.text.includes(word));
    for (const item of this._list.querySelectorAll('section > ul > li')) {
      const columns = [...item.querySelectorAll('li')];
      const own = matches(item);
      const found = columns.filter(matches);
      columns.forEach(column => (column.hidden = !own && !found.includes(column)));
      item.hidden = !own && !found.length;
    }
    for (const section of this._list.querySelectorAll('section')) {
      section.hidden = !section.querySelector('ul > li:not([hidden])');
    }
  }
}
