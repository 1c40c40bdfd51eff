// What must run, and how many checks of it at least. A scenario that cannot get at what it
// tests often ends early without a failure; the count gives that away. The numbers are those
// of the fixtures without a gateway, but where a right answer leaves out a check.

const twoEach = names => Object.fromEntries(names.map(name => [name, 2]));

const BOTH_ERAS = [
    'completion-complete',
    'tools-call-simple-text',
    'tools-call-image',
    'tools-call-audio',
    'tools-call-embedded-resource',
    'tools-call-mixed-content',
    'tools-call-error',
    'tools-call-with-progress',
    'resources-list',
    'resources-read-text',
    'resources-read-binary',
    'resources-templates-read',
    'prompts-list',
    'prompts-get-simple',
    'prompts-get-with-args',
    'prompts-get-embedded-resource',
    'prompts-get-with-image',
    'dns-rebinding-protection'
];

/**
 * By set: the scenarios the suite scores, those beyond them that we hold ourselves to, and
 * those that are of no concern here.
 */
export const GOLDEN = {
    '2025-11-25': {
        scored: {
            ...twoEach(BOTH_ERAS),
            ...twoEach([
                'logging-set-level',
                'ping',
                'tools-call-with-logging',
                'tools-call-sampling',
                'tools-call-elicitation',
                'resources-subscribe',
                'resources-unsubscribe'
            ]),
            'server-initialize': 3,
            'tools-list': 3,
            'elicitation-sep1034-defaults': 6,
            'elicitation-sep1330-enums': 6,
            // One more when lists are answered with streams.
            'server-sse-multiple-streams': 1
        },
        extra: {
            'server-session-lifecycle': 3,
            'json-schema-2020-12': 8,
            // One more when the stream is cut before the answer.
            'server-sse-polling': 2
        },
        ignored: []
    },
    '2026-07-28': {
        scored: {
            ...twoEach(BOTH_ERAS),
            ...twoEach([
                'input-required-result-missing-input-response',
                'input-required-result-result-type',
                'input-required-result-unsupported-methods',
                'input-required-result-tampered-state',
                'input-required-result-capability-check',
                'input-required-result-ignore-extra-params'
            ]),
            'server-stateless': 30,
            'tools-list': 4,
            'server-sse-multiple-streams': 1,
            'sep-2164-resource-not-found': 4,
            caching: 8,
            'input-required-result-basic-elicitation': 3,
            'input-required-result-basic-sampling': 3,
            'input-required-result-basic-list-roots': 3,
            'input-required-result-request-state': 3,
            'input-required-result-multiple-input-requests': 3,
            'input-required-result-multi-round': 4,
            'input-required-result-non-tool-request': 3,
            'input-required-result-validate-input': 3
        },
        extra: {
            'json-schema-2020-12': 8,
            'http-header-validation': 14,
            'http-custom-header-server-validation': 10
        },
        // The tasks extension, which the fixtures do not have.
        ignored: [
            'tasks-lifecycle',
            'tasks-capability-negotiation',
            'tasks-wire-fields',
            'tasks-request-state-removal',
            'tasks-mrtr-input',
            'tasks-request-headers',
            'tasks-dispatch-and-envelope',
            'tasks-status-notifications',
            'tasks-required-task-error',
            'tasks-mrtr-composition'
        ]
    }
};
