// Grafana's schema of a dashboard, for JSON: its enumerations as the strings that they are.
import type { Dashboard } from '@grafana/schema';

type Plain<T> = T extends string
  ? `${T}`
  : T extends (infer Item)[]
    ? Plain<Item>[]
    : T extends object
      ? { [Key in keyof T]: Plain<T[Key]> }
      : T;

export type DashboardFile = Plain<Dashboard>;
