// Reads what the suite wrote and judges it.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { GOLDEN } from './golden.mjs';

const RESULT_DIR = /^server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z$/;
const CELL = /^([a-z-]+):\s*(\[\])?$/;
const ENTRY = /^\s+-\s+(\S+)\s+#\s*(\S.*)$/;

/** The checks of each scenario below `dir`, by its name. */
export function readResults(dir) {
    const results = new Map();
    for (const name of readdirSync(dir).sort()) {
        const scenario = RESULT_DIR.exec(name)?.[1];
        const file = join(dir, name, 'checks.json');
        // A scenario that threw leaves a directory with nothing in it.
        if (scenario !== undefined && existsSync(file)) {
            results.set(scenario, JSON.parse(readFileSync(file, 'utf8')));
        }
    }
    return results;
}

/** The expected failures of each cell: a map from what fails to why. */
export function readExpected(file) {
    const expected = new Map();
    let cell;
    for (const [at, line] of readFileSync(file, 'utf8').split('\n').entries()) {
        if (line.trim() === '' || line.startsWith('#')) {
            continue;
        }
        const name = CELL.exec(line)?.[1];
        const entry = ENTRY.exec(line);
        if (name !== undefined) {
            cell = new Map();
            expected.set(name, cell);
        } else if (entry && cell) {
            cell.set(entry[1], entry[2]);
        } else {
            throw new Error(`${file}:${at + 1}: neither a cell nor a failure with its reason`);
        }
    }
    return expected;
}

function failuresOf(scenario, checks, least) {
    if (checks === undefined) {
        return [{ scenario, check: 'not-run', why: 'left no result; suite.log may say why' }];
    }
    const failures = checks
        .filter(check => check.status === 'FAILURE')
        .map(check => ({
            scenario,
            check: check.id,
            name: check.name,
            why: check.errorMessage ?? check.description,
            details: check.details
        }));
    const ran = checks.filter(check => ['SUCCESS', 'FAILURE', 'WARNING'].includes(check.status));
    if (ran.length < least) {
        const why = `only ${ran.length} checks ran, at least ${least} should`;
        failures.push({ scenario, check: 'too-few-checks', why });
    }
    return failures;
}

function warningsOf(scenario, checks) {
    return (checks ?? [])
        .filter(check => check.status === 'WARNING')
        .map(check => ({ scenario, check: check.id, why: check.errorMessage }));
}

const succeeded = checks => (checks ?? []).filter(check => check.status === 'SUCCESS').length;

/**
 * Judges the results of a set. `only` narrows it to one scenario. Gives the row of the summary,
 * the failures that were not expected, the expected ones, expectations that did not come true,
 * and warnings.
 */
export function judge(set, results, expected = new Map(), only = undefined) {
    const { scored, extra, ignored } = GOLDEN[set];
    const narrow = counts => Object.entries(counts).filter(([name]) => !only || name === only);
    const row = { scored: 0, passed: 0, extra: 0, extraPassed: 0, checks: 0, failed: 0 };
    const verdict = { row, failures: [], expected: [], stale: [], warnings: [] };
    const met = new Set();
    const weigh = ([scenario, least], total, passed) => {
        const failures = failuresOf(scenario, results.get(scenario), least);
        row[total] += 1;
        row[passed] += failures.length === 0 ? 1 : 0;
        row.checks += succeeded(results.get(scenario));
        row.failed += failures.length;
        for (const failure of failures) {
            const keys = [scenario, `${scenario}:${failure.check}`];
            const key = keys.find(candidate => expected.has(candidate));
            met.add(key);
            verdict[key === undefined ? 'failures' : 'expected'].push(failure);
        }
        verdict.warnings.push(...warningsOf(scenario, results.get(scenario)));
    };
    narrow(scored).forEach(entry => weigh(entry, 'scored', 'passed'));
    narrow(extra).forEach(entry => weigh(entry, 'extra', 'extraPassed'));
    for (const scenario of results.keys()) {
        if (!(scenario in scored) && !(scenario in extra) && !ignored.includes(scenario)) {
            const why = 'golden.mjs does not know this scenario';
            verdict.failures.push({ scenario, check: 'unknown', why });
        }
    }
    if (!only) {
        verdict.stale = [...expected.keys()].filter(key => !met.has(key));
    }
    return verdict;
}
