package annotate

import (
	"testing"
	"time"

	"iocpipe/extract"
)

const gone = `{"indicator":{},"matched":{"field":"a","id":"local:ip:203.0.113.7"},"iocpipe":{"verdict":"malicious"}}`
const stays = `{"indicator":{},"matched":{"field":"b","id":"local:domain:evil.example"},"iocpipe":{"verdict":"related"}}`

func TestPrune(t *testing.T) {
	const other = `{"matched":{"field":"a","id":"x:ip:203.0.113.7"}}`
	const summary = `{"verdict":"malicious","matches":1,"fields":["a"],"enriched_at":"2026-01-01T00:00:00.000Z","schema":1}`
	for _, c := range []struct{ event, want string }{
		{`{"a":1}`, `{"a":1}`},
		{`no event`, `no event`},
		{`{"threat":{"enrichments":[` + stays + `]}}`, `{"threat":{"enrichments":[` + stays + `]}}`},
		{`{"threat":{"enrichments":[` + gone + `]},"iocpipe":` + summary + `,"z":1}`, `{"threat":{"enrichments":[]},"z":1}`},
		{`{"iocpipe":` + summary + `,"threat":{"enrichments":` + gone + `}}`, `{"threat":{"enrichments":[]}}`},
		{`{"threat":{"enrichments":[` + gone + `,` + other + `]},"iocpipe":{"mine":1,"matches":1}}`,
			`{"threat":{"enrichments":[` + other + `]},"iocpipe":{"mine":1}}`},
		{`{"threat.enrichments":[` + other + `, ` + gone + `],"iocpipe.matches":1,"iocpipe.verdict":"malicious"}`, `{"threat.enrichments":[` + other + `]}`},
		{`{"threat":{"enrichments":[` + gone + `,` + stays + `]},"iocpipe":{"matches":2}}`,
			`{"threat":{"enrichments":[` + stays + `]},"iocpipe":{"verdict":"related","matches":1,"fields":["b"],"enriched_at":"2026-03-04T09:15:35.904Z","schema":1}}`},
	} {
		a := New()
		a.Now = func() time.Time { return time.Date(2026, 3, 4, 9, 15, 35, 904e6, time.UTC) }
		got := string(a.Prune(nil, []byte(c.event), func(k extract.Key) bool { return k.Value == "evil.example" }))
		if got != c.want {
			t.Errorf("%s\n became %s\n    want %s", c.event, got, c.want)
		}
	}
}

func TestFlatten(t *testing.T) {
	const other, summary = `{"matched":{"field":"a","id":"x:ip:203.0.113.7"}}`, `"iocpipe":{"verdict":"malicious","matches":2}`
	for _, c := range []struct{ event, want string }{
		{`{"a":1,` + summary + `}`, ``},
		{`no event`, ``},
		{`{"threat":{"enrichments":[` + other + `]}}`, ``},
		{`{"a":1,"threat":{"enrichments":[` + gone + `,` + stays + `]},` + summary + `}`, `{"a":1,` + summary + `}`},
		{`{"threat":{"enrichments":` + gone + `},"a":1}`, `{"a":1}`},
		{`{"threat":{"x":1,"enrichments":[` + gone + `]}}`, `{"threat":{"x":1,"enrichments":[]}}`},
		{`{"threat":{"x":1,"enrichments":[` + other + `,` + gone + `]},` + summary + `}`, `{"threat":{"x":1,"enrichments":[` + other + `]},` + summary + `}`},
		{`{"threat.enrichments":` + gone + `,` + summary + `}`, `{"threat.enrichments":[],` + summary + `}`},
	} {
		got, had := New().Flatten(nil, []byte(c.event))
		if had != (c.want != "") || had && string(got) != c.want || !had && string(got) != c.event {
			t.Errorf("%s\n became %s\n    want %s", c.event, got, c.want)
		}
	}
}
