package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"iocpipe/lookup/lookuptest"
)

// get returns what a program says over HTTP, and the status; 0 while it does not listen.
func get(url string) (body string, status int) {
	resp, err := http.Get(url)
	if err != nil {
		return "", 0
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", 0
	}
	return string(data), resp.StatusCode
}

// metrics reads what /metrics says: the samples by name and labels.
func metrics(t *testing.T, addr string) map[string]float64 {
	t.Helper()
	body, _ := get("http://" + addr + "/metrics")
	samples := make(map[string]float64)
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(strings.TrimSpace(line[i+1:]), 64)
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		samples[line[:i]] = value
	}
	return samples
}

// total returns the questions of all outcomes.
func total(samples map[string]float64) (n float64) {
	for name, value := range samples {
		if strings.HasPrefix(name, "iocpipe_questions_total") {
			n += value
		}
	}
	return n
}

// The metrics balance: lines in and out, and questions by outcome with what the source has counted.
func TestMetricsBalance(t *testing.T) {
	t.Parallel()
	source := lookuptest.NewServer(t, lookuptest.ByValue(map[string]http.Handler{
		address(1): lookuptest.JSON(reportMalicious), address(2): lookuptest.JSON(`{"response_code":"1","votes":1}`),
		address(3): lookuptest.JSON(`{"response_code":"1","votes":0}`), address(4): lookuptest.HTML(),
	}, lookuptest.JSON(reportUnknown)))
	addr := freeAddress(t)
	p := start(t, "--intel", source.URL, "--state", t.TempDir(), "--listen", addr, "--late", "follow")
	p.say("%s\nnothing", strings.TrimSuffix(lines(0, 50), "\n"))
	p.until("the questions", func() bool { return total(metrics(t, addr)) == 50 })
	p.until("the malicious answer is used", func() bool {
		p.say("again %s", address(1))
		return strings.Contains(p.out.String(), "again "+address(1)+" iocpipe=")
	})
	var m map[string]float64
	p.until("all lines have left", func() bool {
		m = metrics(t, addr)
		return m["iocpipe_lines_in_total"] == m["iocpipe_lines_out_total"] && m[`iocpipe_lines_by_verdict_total{verdict="malicious"}`] > 0
	})
	for outcome, want := range map[string]float64{"malicious": 1, "benign": 1, "not-known": 46, "error": 1} {
		if got := m[fmt.Sprintf(`iocpipe_questions_total{outcome=%q,source=%q}`, outcome, source.Host)]; got != want {
			t.Errorf("%v questions with outcome %s, want %v", got, outcome, want)
		}
	}
	if asked := len(source.Asked()); int(total(m)) != asked {
		t.Errorf("%v questions, the source counted %d", total(m), asked)
	}
	if m[`iocpipe_source_up{source="`+source.Host+`"}`] != 1 || m["iocpipe_ready"] != 1 || m["iocpipe_waiting"] != 1 ||
		m["iocpipe_waiting_bytes"] == 0 || m["iocpipe_waiting_oldest_seconds"] == 0 || m["iocpipe_follow_ups_total"] == 0 ||
		m[`iocpipe_budget_tokens{source="`+source.Host+`"}`] <= 0 {
		t.Errorf("metrics: %v", m)
	}
	if m[`iocpipe_known_total{layer="cache"}`] == 0 || m[`iocpipe_indicators_total{type="ip"}`] != m["iocpipe_lines_in_total"]-1 {
		t.Errorf("metrics: %v", m)
	}
	p.end(0)
}

// The alert rules name metrics that are there, with the labels that they ask for.
func TestAlertRules(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../examples/prometheus/iocpipe.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	source, addr := maliciousOnly(t, address(1)), freeAddress(t)
	p := start(t, "--intel", source.URL, "--state", t.TempDir(), "--listen", addr)
	var exported string
	p.until("metrics", func() bool { exported, _ = get("http://" + addr + "/metrics"); return exported != "" })
	rules := 0
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			rules++
			for _, metric := range regexp.MustCompile(`iocpipe_\w+({[^}]*})?`).FindAllString(rule.Expr, -1) {
				if !strings.Contains(exported, "\n"+strings.TrimSuffix(metric, "}")) {
					t.Errorf("%s: there is no %s", rule.Alert, metric)
				}
			}
		}
	}
	if rules != 3 {
		t.Errorf("%d rules, want 3", rules)
	}
	p.end(0)
}

// Readiness tells what is missing, and no longer once it is there.
func TestReadiness(t *testing.T) {
	t.Parallel()
	dir, addr := t.TempDir(), freeAddress(t)
	list, allow := filepath.Join(dir, "list.txt"), filepath.Join(dir, "allow.txt")
	p := start(t, "--intel", list, "--allow", allow, "--state", "none", "--listen", addr)
	ready := func() (string, int) { return get("http://" + addr + "/readyz") }
	p.until("not ready", func() bool {
		body, status := ready()
		return status == http.StatusServiceUnavailable && strings.Contains(body, "allow.txt")
	})
	write := func(path, content string) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(allow, "")
	p.until("the list is missed", func() bool {
		body, status := ready()
		return status == http.StatusServiceUnavailable && strings.Contains(body, "list.txt")
	})
	write(list, address(1)+"\n")
	p.until("ready", func() bool { _, status := ready(); return status == http.StatusOK })
	p.untilAnnotated("from "+address(1), `"verdict":"malicious"`)
	if m := metrics(t, addr); m["iocpipe_ready"] != 1 {
		t.Errorf("metrics: %v", m)
	}
	if err := os.Remove(list); err != nil {
		t.Fatal(err)
	}
	p.until("not ready again", func() bool { _, status := ready(); return status == http.StatusServiceUnavailable })
	if _, status := get("http://" + addr + "/healthz"); status != http.StatusOK {
		t.Errorf("healthz: %d", status)
	}
	p.end(1)
	checkMessages(t, p.err.String(), 3)
}

// A source that is down turns readiness red, and its metric to 0.
func TestReadinessOfSource(t *testing.T) {
	t.Parallel()
	source := lookuptest.NewServer(t, lookuptest.HTML())
	addr := freeAddress(t)
	p := start(t, "--intel", source.URL, "--state", "none", "--listen", addr)
	p.say("%s", strings.TrimSuffix(lines(0, 30), "\n"))
	p.until("not ready", func() bool {
		body, status := get("http://" + addr + "/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(body, source.Host)
	})
	if m := metrics(t, addr); m[`iocpipe_source_up{source="`+source.Host+`"}`] != 0 || m["iocpipe_ready"] != 0 {
		t.Errorf("metrics: %v", m)
	}
	p.end(1)
}

// A port that is taken costs the metrics and not the lines.
func TestListenTaken(t *testing.T) {
	t.Parallel()
	source := maliciousOnly(t)
	stdout, stderr := iocpipe(t, 1, lines(0, 3), "--intel", source.URL, "--state", "none", "--listen", source.Host)
	if stdout != lines(0, 3) || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "--listen") {
		t.Errorf("stdout: %s\nstderr: %s", stdout, stderr)
	}
}
