package elastic

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/valyala/fastjson"
)

// What Prepare asks, in order, and what it makes of the answers.
func TestPrepare(t *testing.T) {
	nested := ourMappings().String()
	refusal := func(status int, kind, reason string) string {
		return fmt.Sprintf(`%d {"status":%d%s}`, status, status, errorMember(kind, reason))
	}
	missing := refusal(404, "index_not_found_exception", "no such index [x]")
	forbidden := refusal(403, "security_exception", "action is unauthorized")
	have := func(mapping string) string { return `200 {"x":{"mappings":` + mapping + `}}` }
	const object = `{"data_stream":"x","mappings":{"properties":{"threat":{"properties":{"enrichments":{"properties":{}}}}}}}`
	const ok = `200 {"acknowledged":true}`
	for name, c := range map[string]struct {
		answers []string // to the requests, in order
		calls   string
		want    Mapping
		note    string
	}{
		"made":     {[]string{missing, ok, have(nested)}, "GET /x PUT /x GET /x", Nested, ""},
		"meantime": {[]string{missing, refusal(400, "resource_already_exists_exception", ""), have(nested)}, "GET /x PUT /x GET /x", Nested, ""},
		"a data stream": {[]string{missing, refusal(400, "illegal_argument_exception",
			"cannot create index with name [x], because it matches with template [y] that creates data streams only, use create data stream api instead"),
			ok, have(`{}`), ok}, "GET /x PUT /x PUT /_data_stream/x GET /x PUT /x/_mapping", Nested, ""},
		"not to be made": {[]string{missing, forbidden}, "GET /x PUT /x", Unknown, "left to the server to create it"},
		"whole":          {[]string{have(nested)}, "GET /x", Nested, ""},
		"extended":       {[]string{have(`{"properties":{"message":{"type":"text"}}}`), ok}, "GET /x PUT /x/_mapping", Nested, ""},
		"lacks a field":  {[]string{have(`{"properties":{"threat":{"properties":{"enrichments":{"type":"nested"}}}}}`), forbidden}, "GET /x PUT /x/_mapping", Nested, "stored all the same"},
		"object":         {[]string{have(`{"properties":{"threat":{"properties":{"enrichments":{"properties":{}}}}}}`)}, "GET /x", Flat, "mapped as object"},
		"keyword":        {[]string{have(`{"properties":{"threat":{"properties":{"enrichments":{"type":"flattened"}}}}}`)}, "GET /x", Flat, "mapped as flattened"},
		"not extended":   {[]string{have(`{}`), refusal(400, "illegal_argument_exception", "Limit of total fields [1000] has been exceeded")}, "GET /x PUT /x/_mapping", Flat, "Limit of total fields"},
		"not to be read": {[]string{forbidden}, "GET /x", Unknown, "mapping cannot be read"},
		"newest of a stream": {[]string{`200 {".ds-x-2026.10.01-000002":{"data_stream":"x","mappings":` + nested + `},".ds-x-2026.09.01-000001":` +
			object + `,"shrink-ab-.ds-x-2026.08.01-000000":` + object + `}`}, "GET /x", Nested, ""},
		"the write index of an alias": {[]string{`200 {"a-1":{"aliases":{"x":{"is_write_index":true}},"mappings":` + nested + `},"a-2":` + object + `}`}, "GET /x", Nested, ""},
		"the only one of an alias":    {[]string{`200 {"a-1":{"aliases":{"x":{}},"mappings":` + nested + `}}`}, "GET /x", Nested, ""},
		"none of several":             {[]string{`200 {"a-1":{"aliases":{"x":{}}},"a-2":{"aliases":{"x":{}}}}`}, "GET /x", Unfit, "alias of a-1, a-2, of which none has is_write_index"},
		"the only one is not written": {[]string{`200 {"a-1":{"aliases":{"x":{"is_write_index":false}}}}`}, "GET /x", Unfit, "alias of a-1, of which none"},
		"of several streams": {[]string{`200 {".ds-a-000002":{"data_stream":"a","mappings":` + nested + `},".ds-b-000009":` + strings.ReplaceAll(object, `"x"`, `"b"`) + `}`,
			`200 {"a":{"aliases":{"x":{"is_write_index":true}}},"b":{"aliases":{"x":{}}}}`}, "GET /x GET /_alias/x", Nested, ""},
		"of several streams, none": {[]string{`200 {".ds-a-000002":{"data_stream":"a"},".ds-b-000009":{"data_stream":"b"}}`,
			`200 {"a":{"aliases":{"x":{}}},"b":{"aliases":{"x":{}}}}`}, "GET /x GET /_alias/x", Unfit, "of the data streams a, b, of which none"},
		"time series": {[]string{`200 {"x":{"settings":{"index":{"mode":"time_series"}},"mappings":{}}}`}, "GET /x", Unfit, "time-series mode"},
		"read only": {[]string{have(`{}`), refusal(403, "cluster_block_exception", "index [x] blocked by: [FORBIDDEN/5/index read-only (api)];")},
			"GET /x PUT /x/_mapping", Flat, ""},
		"busy": {[]string{`503 {}`}, "GET /x", Unknown, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var calls []string
			client := clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set(productHeader, productName)
				calls = append(calls, r.Method+" "+r.URL.Path)
				var code int
				_, _ = fmt.Sscan(c.answers[len(calls)-1], &code)
				w.WriteHeader(code)
				fmt.Fprint(w, c.answers[len(calls)-1][4:])
			}), func(c *Config) { c.Flavor = Elasticsearch })
			m, note, err := client.Prepare(t.Context(), "x")
			if (err != nil) != (name == "busy") || m != c.want || !strings.Contains(note, c.note) || c.note == "" && note != "" {
				t.Errorf("%v %q, %v", m, note, err)
			}
			if strings.Join(calls, " ") != c.calls {
				t.Errorf("calls %v, want %s", calls, c.calls)
			}
		})
	}
}

// What is worth saying of an index, by what it and its template are.
func TestRemarks(t *testing.T) {
	const stream = `{".ds-x-2026.10.01-000002":{"data_stream":"x","mappings":{}}}`
	for name, c := range map[string]struct {
		index, template string // answers; without a text, it may not be looked at
		want            string
	}{
		"plain":                     {`{"x":{"mappings":{}}}`, "", ""},
		"unknown":                   {"", "", ""},
		"no _source":                {`{"x":{"mappings":{"_source":{"enabled":false}}}}`, "", "keeps no _source"},
		"synthetic":                 {`{"x":{"mappings":{"_source":{"mode":"synthetic"}}}}`, "", "its _source is made up"},
		"synthetic by its settings": {`{"x":{"settings":{"index":{"mapping":{"source":{"mode":"synthetic"}}}}}}`, "", "its _source is made up"},
		"logsdb":                    {`{"x":{"settings":{"index":{"mode":"logsdb"}}}}`, "", "its _source is made up"},
		"logsdb that keeps _source": {`{"x":{"settings":{"index":{"mode":"logsdb","mapping":{"source":{"mode":"stored"}}}}}}`, "", ""},
		"a stream":                  {stream, `{"template":{"mappings":` + ourMappings().String() + `}}`, ""},
		"whose template lacks it":   {stream, `{"template":{"settings":{}}}`, "its template lacks threat.enrichments"},
		"has it as an object":       {stream, `{"template":{"mappings":{"properties":{"threat":{"properties":{"enrichments":{}}}}}}}`, "its template lacks threat.enrichments"},
		"may not be looked at":      {stream, "", ""},
		"is none":                   {stream, `{}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			client := clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set(productHeader, productName)
				answer := map[string]string{"GET /x": c.index, "GET /_data_stream/x": `{"data_streams":[{"template":"of x"}]}`,
					"POST /_index_template/_simulate/of x": c.template}[r.Method+" "+r.URL.Path]
				if answer == "" {
					w.WriteHeader(http.StatusForbidden)
				}
				fmt.Fprint(w, answer)
			}), func(c *Config) { c.Flavor = Elasticsearch })
			if got := strings.Join(client.Remarks(t.Context(), "x"), "\n"); !strings.Contains(got, c.want) || c.want == "" && got != "" {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// The templates are JSON, and map no field otherwise than nested or plain.
func TestTemplates(t *testing.T) {
	for _, c := range []struct {
		flavor  Flavor
		version string
		ecs     bool
	}{{Elasticsearch, "", true}, {Elasticsearch, "9.0.4", true}, {Elasticsearch, "8.7.0", true}, {Elasticsearch, "8.6.2", false},
		{Elasticsearch, "7.17.29", false}, {OpenSearch, "3.8.0", false}, {OpenSearch, "7.10.2", false}} {
		templates := Templates(c.flavor, c.version)
		for _, template := range templates {
			if !json.Valid(template.Body) {
				t.Errorf("%s: %s", template.Path, template.Body)
			}
		}
		index := fastjson.MustParseBytes(templates[1].Body)
		if got := strings.Contains(index.Get("composed_of").String(), "ecs@mappings"); got != c.ecs {
			t.Errorf("%s %s: %s", c.flavor, c.version, index)
		}
		if index.GetInt("priority") <= 100 || index.Get("data_stream") == nil {
			t.Errorf("%s", index)
		}
	}
}
