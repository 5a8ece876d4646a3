// Package elasticsearch_test holds the files of the example against what iocpipe writes, and against a real node.
package elasticsearch_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"iocpipe/sinks/elastic"
	"iocpipe/sinks/elastic/elastictest"
)

var update = flag.Bool("update", false, "write what the program prints to the files of the example")

type object = map[string]any

func readLines(t *testing.T, path string) (all []object) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var o object
		if err := json.Unmarshal(line, &o); err != nil {
			t.Fatalf("%s: %v: %.80s", path, err, line)
		}
		all = append(all, o)
	}
	return all
}

// inner parses JSON that a saved object holds as a text.
func inner(t *testing.T, o object, path ...any) (v any) {
	t.Helper()
	text, _ := elastictest.At(o, path...).(string)
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v of %v: %v", path, o["id"], err)
	}
	return v
}

// mapped returns the fields that the component template maps, as the server would name them.
func mapped(t *testing.T) (fields []string) {
	var template object
	if err := json.Unmarshal(elastic.Templates(elastic.OpenSearch, "")[0].Body, &template); err != nil {
		t.Fatal(err)
	}
	var walk func(prefix string, mappings any)
	walk = func(prefix string, mappings any) {
		properties, _ := elastictest.At(mappings, "properties").(object)
		for name, field := range properties {
			fields = append(fields, prefix+name)
			walk(prefix+name+".", field)
		}
	}
	walk("", elastictest.At(template, "template", "mappings"))
	return fields
}

// ecsFields are those of the Elastic Common Schema that the example uses beside iocpipe's own.
var ecsFields = []string{"@timestamp", "host.name", "message", "event.kind", "event.module", "source.ip", "destination.ip", "client.ip", "server.ip",
	"dns.question.name", "destination.domain", "url.domain", "url.full", "file.hash.md5", "file.hash.sha1", "file.hash.sha256", "process.hash.sha256",
	"email.from.address", "threat.indicator.ip", "threat.indicator.url.domain", "threat.indicator.url.full", "threat.indicator.file.hash.md5",
	"threat.indicator.file.hash.sha1", "threat.indicator.file.hash.sha256", "threat.indicator.email.address"}

// fieldNames finds the names of fields in aggregations, queries in Kibana's language, and rules.
var kueryField = regexp.MustCompile(`([a-z@][a-z_.@]*) *(?::|[<>]=?)`)

func fieldNames(v any) (names []string) {
	switch v := v.(type) {
	case object:
		for key, in := range v {
			text, isText := in.(string)
			switch {
			case isText && (key == "field" || key == "path" || key == "value" && strings.HasPrefix(text, "threat.")):
				names = append(names, text)
			case isText && (key == "query" || key == "threat_query"):
				for _, m := range kueryField.FindAllStringSubmatch(text, -1) {
					names = append(names, m[1])
				}
			case key == "columns":
				for _, column := range in.([]any) {
					names = append(names, column.(string))
				}
			case key == "term":
				for field := range in.(object) {
					names = append(names, field)
				}
			default:
				names = append(names, fieldNames(in)...)
			}
		}
	case []any:
		for _, in := range v {
			names = append(names, fieldNames(in)...)
		}
	}
	return names
}

func checkFields(t *testing.T, what string, v any) {
	t.Helper()
	names := fieldNames(v)
	for _, name := range names {
		if !slices.Contains(ecsFields, name) && !slices.Contains(mapped(t), name) {
			t.Errorf("%s: the field %s is neither mapped nor of ECS", what, name)
		}
	}
}

// TestDashboard: the objects' references meet, what is JSON in a text is JSON, and the fields exist.
func TestDashboard(t *testing.T) {
	objects := readLines(t, "dashboard.ndjson")
	var ids []string
	for _, o := range objects {
		ids = append(ids, o["type"].(string)+"/"+o["id"].(string))
	}
	for _, o := range objects {
		named := make(map[string]bool)
		for _, r := range o["references"].([]any) {
			id := elastictest.At(r, "type").(string) + "/" + elastictest.At(r, "id").(string)
			if !slices.Contains(ids, id) {
				t.Errorf("%v refers to %s, which is not there", o["id"], id)
			}
			named[elastictest.At(r, "name").(string)] = true
		}
		if o["type"] == "index-pattern" {
			continue
		}
		search := inner(t, o, "attributes", "kibanaSavedObjectMeta", "searchSourceJSON")
		if index, ok := elastictest.At(search, "indexRefName").(string); ok && !named[index] {
			t.Errorf("%v: no reference %s", o["id"], index)
		}
		checkFields(t, o["id"].(string), []any{search, elastictest.At(o, "attributes")})
		switch o["type"] {
		case "visualization":
			checkFields(t, o["id"].(string), inner(t, o, "attributes", "visState"))
		case "dashboard":
			for _, panel := range inner(t, o, "attributes", "panelsJSON").([]any) {
				if name := elastictest.At(panel, "panelRefName").(string); !named[name] {
					t.Errorf("%v: no reference %s", o["id"], name)
				}
			}
		}
	}
}

// TestRules: each rule has what an import demands, an ID of its own, and fields that exist.
func TestRules(t *testing.T) {
	all := readLines(t, "rules.ndjson")
	rules, summary := all[:len(all)-1], all[len(all)-1]
	if summary["exported_rules_count"] != float64(len(rules)) {
		t.Errorf("the summary says %v rules, there are %d", summary["exported_rules_count"], len(rules))
	}
	for _, rule := range rules {
		demanded := []string{"rule_id", "name", "description", "risk_score", "severity", "type", "query", "language", "index", "interval", "from"}
		if rule["type"] == "threat_match" {
			demanded = append(demanded, "threat_index", "threat_query", "threat_mapping", "threat_indicator_path")
		}
		for _, member := range demanded {
			if rule[member] == nil {
				t.Errorf("%v: no %s", rule["rule_id"], member)
			}
		}
		checkFields(t, rule["rule_id"].(string), rule)
	}
}

// TestQuickStart runs the commands of the README on a real node, compares what they print, and asks what the dashboard's
// charts ask.
func TestQuickStart(t *testing.T) {
	node := elastictest.Start(t, elastictest.OpenSearch)
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(bin, "iocpipe"), "../../cmd/iocpipe").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dir := t.TempDir()
	testdata, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(testdata, filepath.Join(dir, "testdata")); err != nil {
		t.Fatal(err)
	}
	shell := func(command string) string {
		cmd := exec.Command("bash", "-c", strings.ReplaceAll(command, "http://127.0.0.1:9200", node.URL))
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+dir, "XDG_STATE_HOME=", "STATE_DIRECTORY=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		return string(out)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile("(?sm)^```console\n\\$ (.*?)\n(.*?)```$").ReplaceAllStringFunc(string(readme), func(block string) string {
		command, _, _ := strings.Cut(strings.TrimPrefix(block, "```console\n$ "), "\n")
		return "```console\n$ " + command + "\n" + shell(command) + "```"
	})
	golden(t, "README.md", text)
	golden(t, "index-template.txt", shell("iocpipe --to elasticsearch --es-flavor opensearch --es-print-templates"))
	askCharts(t, node.URL)
	askRules(t, node.URL)
}

// askRules looks for indicators in the fields that the rules compare with, at a node that holds the quick start's.
func askRules(t *testing.T, url string) {
	t.Helper()
	for _, rule := range readLines(t, "rules.ndjson") {
		mapping, _ := rule["threat_mapping"].([]any)
		if len(mapping) == 0 {
			continue
		}
		var anyOf []object
		for _, entry := range mapping {
			anyOf = append(anyOf, object{"exists": object{"field": elastictest.At(entry, "entries", 0, "value")}})
		}
		index := elastictest.At(rule, "threat_index", 0).(string)
		elastictest.Must(t, "POST", url+"/"+index+"/_refresh", "")
		body, _ := json.Marshal(object{"query": object{"bool": object{"should": anyOf}}}) // of texts
		all, usable := elastictest.Must(t, "GET", url+"/"+index+"/_count", ""), elastictest.Must(t, "POST", url+"/"+index+"/_count", string(body))
		if n := elastictest.At(all, "count"); n == 0.0 || n != elastictest.At(usable, "count") {
			t.Errorf("%v: of %v indicators it compares with %v", rule["rule_id"], n, elastictest.At(usable, "count"))
		}
		network := elastictest.Must(t, "POST", url+"/"+index+"/_count", `{"query":{"term":{"threat.indicator.ip":"198.51.100.0/24"}}}`)
		if elastictest.At(network, "count") == 0.0 {
			t.Error("addresses are no addresses there")
		}
	}
}

// askCharts sends the aggregations of the charts to a node that holds the quick start's events.
func askCharts(t *testing.T, url string) {
	t.Helper()
	const target = "/logs-iocpipe.events-default/_search"
	for _, o := range readLines(t, "dashboard.ndjson") {
		if o["type"] != "visualization" {
			continue
		}
		state := inner(t, o, "attributes", "visState")
		if spec, ok := elastictest.At(state, "params", "spec").(string); ok {
			var vega object
			if err := json.Unmarshal([]byte(spec), &vega); err != nil {
				t.Fatal(err)
			}
			body, _ := json.Marshal(elastictest.At(vega, "data", "url", "body")) // was parsed
			answer := elastictest.Must(t, "POST", url+target, string(body))
			path := []any{}
			for part := range strings.SplitSeq(elastictest.At(vega, "data", "format", "property").(string), ".") {
				path = append(path, part)
			}
			if buckets, _ := elastictest.At(answer, path...).([]any); len(buckets) == 0 {
				t.Errorf("%v: nothing to show: %v", o["id"], answer)
			}
			continue
		}
		for _, agg := range elastictest.At(state, "aggs").([]any) {
			if kind := elastictest.At(agg, "type"); kind != "terms" {
				continue
			}
			field := elastictest.At(agg, "params", "field").(string)
			answer := elastictest.Must(t, "POST", url+target, `{"size":0,"query":{"term":{"iocpipe.verdict":"malicious"}},"aggs":{"a":{"terms":{"field":"`+field+`"}}}}`)
			if buckets, _ := elastictest.At(answer, "aggregations", "a", "buckets").([]any); len(buckets) != 1 {
				t.Errorf("%v: %s of the malicious events: %v", o["id"], field, buckets)
			}
		}
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) != got {
		t.Errorf("%s (accept with -update): %v; the commands give:\n%s", path, err, got)
	}
}
