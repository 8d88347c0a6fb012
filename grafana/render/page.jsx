// A dashboard as Grafana would show it: its panels at their places, drawn by Grafana's own parts from Prometheus's
// answers. `tests/support/drawing.py` gives both in `window.given`. Not the whole of Grafana: of overrides those by
// name, of mappings values and null; rows that are collapsed are open; and the heatmap and the states over time, which
// are no part of @grafana/ui, by hand.

import {
  applyNullInsertThreshold, createTheme, dateTime, FieldType, formattedValueToString, getDisplayProcessor, ThemeContext, toDataFrame,
} from '@grafana/data';
import { BarGauge, BigValue, GlobalStyles, TimeSeries } from '@grafana/ui';
import { createRoot } from 'react-dom/client';
import 'uplot/dist/uPlot.min.css';

const { dashboard, answers, from, to, step } = window.given;
const theme = createTheme({ colors: { mode: 'dark' } });
const COLUMN = window.innerWidth / 24;
const ROW = 38;
const GAP = 8;
const TITLE = 32;

function named(legend, labels) {
  if (legend !== '__auto') {
    return legend.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => labels[label] ?? '');
  }
  return Object.values(labels).join(' ');
}

function configured(panel, name) {
  const { defaults, overrides } = panel.fieldConfig;
  const config = { ...defaults, custom: { ...defaults.custom }, displayName: name };
  if (panel.type === 'timeseries') {
    config.color ??= { mode: 'palette-classic' };
  } else {
    config.color ??= { mode: 'thresholds' };
  }
  for (const { matcher, properties } of overrides) {
    if (matcher.options === name) {
      for (const { id, value } of properties) {
        if (id.startsWith('custom.')) {
          config.custom[id.slice('custom.'.length)] = value;
        } else {
          config[id] = value;
        }
      }
    }
  }
  return config;
}

function fields(panel) {
  return panel.targets.flatMap((target, at) =>
    answers[panel.id][at].map((series) => ({
      name: named(target.legendFormat, series.metric),
      labels: series.metric,
      times: series.values.map(([time]) => time * 1000),
      values: series.values.map(([, value]) => (Number.isFinite(Number(value)) ? Number(value) : null)),
    }))
  );
}

function Lines({ panel, width, height }) {
  const found = fields(panel);
  if (!found.length) {
    return <Nothing panel={panel} />;
  }
  const frames = found.map((series, at) => {
    const frame = toDataFrame({
      fields: [
        { name: 'time', type: FieldType.time, values: series.times, config: { interval: step * 1000 } },
        { name: 'value', type: FieldType.number, values: series.values, config: configured(panel, series.name) },
      ],
    });
    const field = frame.fields[1];
    field.state = { seriesIndex: at, displayName: series.name };
    field.display = getDisplayProcessor({ field, theme });
    return applyNullInsertThreshold({ frame }); // gaps stay gaps
  });
  const range = { from: dateTime(from * 1000), to: dateTime(to * 1000) };
  return (
    <TimeSeries
      frames={frames} width={width} height={height} timeRange={{ ...range, raw: range }} timeZone="utc"
      legend={panel.options.legend} theme={theme}
    />
  );
}

function shown(panel, series) {
  const config = configured(panel, series.name);
  const display = getDisplayProcessor({ field: { type: FieldType.number, config }, theme });
  return { value: display(series.values.at(-1)), config, display };
}

function Number_({ panel, width, height }) {
  const [series] = fields(panel);
  if (!series) {
    return <Nothing panel={panel} />;
  }
  const { value } = shown(panel, series);
  return (
    <BigValue
      value={value} width={width} height={height} theme={theme} colorMode={panel.options.colorMode}
      graphMode="none" justifyMode="center" textMode="value"
    />
  );
}

function Bars({ panel, width, height }) {
  const found = fields(panel);
  if (!found.length) {
    return <Nothing panel={panel} />;
  }
  const highest = Math.max(...found.map((series) => series.values.at(-1)));
  const each = Math.min(40, (height - GAP * found.length) / found.length);
  const widest = (texts) => texts.reduce((a, b) => (b.length > a.length ? b : a), '');
  const alignment = {
    title: widest(found.map((series) => series.name)),
    text: widest(found.map((series) => formattedValueToString(shown(panel, series).value))),
  };
  return found.map((series) => {
    const { value, config, display } = shown(panel, series);
    return (
      <div key={series.name} style={{ marginBottom: GAP }}>
        <BarGauge
          value={{ ...value, title: series.name }} field={{ ...config, min: 0, max: config.max ?? highest }}
          display={display} width={width} height={each} theme={theme} orientation="horizontal"
          alignmentFactors={alignment} displayMode={panel.options.displayMode} showUnfilled={panel.options.showUnfilled} text={{ titleSize: 13, valueSize: 14 }}
        />
      </div>
    );
  });
}

function Heat({ panel, width, height }) {
  const rows = fields(panel).sort((a, b) => bound(a) - bound(b));
  const LEFT = 50;
  const BOTTOM = 20;
  const cells = rows.map((row, at) => row.values.map((value, when) => Math.max(0, value - (at ? rows[at - 1].values[when] ?? 0 : 0))));
  const most = Math.max(1e-9, ...cells.flat());
  const across = (width - LEFT) / (to - from);
  const down = (height - BOTTOM) / rows.length;
  const seconds = getDisplayProcessor({ field: { type: FieldType.number, config: { unit: 's' } }, theme });
  return (
    <svg width={width} height={height} style={{ fontSize: 11, fill: theme.colors.text.primary }}>
      {rows.map((row, at) => (
        <g key={row.name}>
          <text x={LEFT - 6} y={height - BOTTOM - (at + 1) * down + 4} textAnchor="end">
            {at < rows.length - 1 ? formattedValueToString(seconds(bound(row))) : '∞'}
          </text>
          {cells[at].map((value, when) => value > 0.01 && (
            <rect
              key={when} x={LEFT + (row.times[when] / 1000 - from) * across} y={height - BOTTOM - (at + 1) * down}
              width={step * across} height={down - 1} fill={`rgba(255,140,40,${0.15 + 0.85 * Math.sqrt(value / most)})`}
            />
          ))}
        </g>
      ))}
    </svg>
  );
}

function bound(row) {
  return row.labels.le === '+Inf' ? Infinity : Number(row.labels.le);
}

function Nothing({ panel }) {
  return <div style={{ textAlign: 'center', paddingTop: 20 }}>{panel.fieldConfig.defaults.noValue ?? 'No data'}</div>;
}

function States({ panel, width, height }) {
  const found = fields(panel);
  const LEFT = 200;
  const each = Math.min(50, height / Math.max(1, found.length));
  const across = (width - LEFT) / (to - from);
  return (
    <svg width={width} height={height} style={{ fontSize: 11, fill: theme.colors.text.primary }}>
      {found.map((series, at) => {
        const display = getDisplayProcessor({ field: { type: FieldType.number, config: configured(panel, series.name) }, theme });
        const starts = series.values.map((_, when) => when).filter((when) => when === 0 || series.values[when] !== series.values[when - 1]);
        return (
          <g key={series.name}>
            <text x={LEFT - 6} y={(at + 0.5) * each + 4} textAnchor="end">{series.name}</text>
            {starts.map((when, nth) => {
              const left = LEFT + (series.times[when] / 1000 - from) * across;
              const until = nth + 1 < starts.length ? series.times[starts[nth + 1]] / 1000 : to;
              const { text, color } = display(series.values[when]);
              const wide = LEFT + (until - from) * across - left;
              return (
                <g key={when}>
                  <rect x={left} y={at * each + 4} width={wide} height={each - 8} fill={color} fillOpacity={0.8} />
                  {wide > 7 * text.length && <text x={left + 5} y={(at + 0.5) * each + 4}>{text}</text>}
                </g>
              );
            })}
          </g>
        );
      })}
    </svg>
  );
}

const KINDS = { 'state-timeline': States, timeseries: Lines, stat: Number_, bargauge: Bars, heatmap: Heat };

function Placed({ panel }) {
  const { x, y, w, h } = panel.gridPos;
  const place = { position: 'absolute', left: x * COLUMN + GAP / 2, top: 48 + y * ROW, width: w * COLUMN - GAP, height: h * ROW - GAP };
  if (panel.type === 'row') {
    return <div style={{ ...place, fontSize: 16, lineHeight: `${ROW}px` }}>{panel.collapsed ? '›' : '⌄'} {panel.title}</div>;
  }
  const Kind = KINDS[panel.type];
  const frame = { background: theme.colors.background.primary, border: `1px solid ${theme.colors.border.weak}`, boxSizing: 'border-box' };
  return (
    <div data-panel={panel.id} style={{ ...place, ...frame }}>
      <div style={{ height: TITLE, lineHeight: `${TITLE}px`, paddingLeft: GAP, fontWeight: 500, whiteSpace: 'nowrap', overflow: 'hidden' }}>{panel.title}</div>
      <div style={{ padding: `0 ${GAP}px`, overflow: 'hidden' }}>
        <Kind panel={panel} width={place.width - 2 * GAP} height={place.height - TITLE - GAP} />
      </div>
    </div>
  );
}

createRoot(document.getElementById('root')).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles isExtensionSidebarOpen={false} />
    <div style={{ fontFamily: 'Inter, DejaVu Sans, sans-serif', fontSize: 13, color: theme.colors.text.primary }}>
      <div style={{ padding: 12, fontSize: 18 }}>{dashboard.title}</div>
      {dashboard.panels.flatMap((panel) => [panel, ...(panel.panels ?? [])]).map((panel) => <Placed key={panel.id} panel={panel} />)}
    </div>
  </ThemeContext.Provider>
);
