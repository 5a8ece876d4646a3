package main

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"iocpipe/extract"
	"iocpipe/filter"
	"iocpipe/intel"
)

// checkListen refuses what can be no address, which is another thing than one that is taken.
func checkListen(addr string) error {
	if addr == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return usagef("--listen %q: say HOST:PORT, such as 127.0.0.1:9191", addr)
	}
	return nil
}

// listen serves /metrics, /healthz and /readyz until the session ends. A port that is taken costs the metrics, and
// turns readiness red, which then nobody can ask for: it is said once on stderr.
func (s *session) listen(addr string) (stop func()) {
	if addr == "" {
		return func() {}
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		s.stream.degraded("", fmt.Errorf("--listen: %w", err))
		return func() {}
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{s})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.ready)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // it ends with Close
	return func() { _ = server.Close() }
}

// ready answers 200 while everything that was asked for is there, else 503 and what is not.
func (s *session) ready(w http.ResponseWriter, _ *http.Request) {
	if problem := s.stream.problem(); problem != "" {
		http.Error(w, problem, http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

var (
	linesIn    = desc("lines_in_total", "Lines that came in.")
	linesOut   = desc("lines_out_total", "Lines that left. It equals the lines that came in, but for --only.")
	verdicts   = desc("lines_by_verdict_total", "Annotated lines by their worst verdict.", "verdict")
	found      = desc("indicators_total", "Indicators met, by type.", "type")
	answeredBy = desc("known_total", "Indicators met, by what knew them: local, cache or none.", "layer")
	followUps  = desc("follow_ups_total", "Records of --late follow, which are not among the lines that left.")
	hidden     = desc("hidden_total", "Malicious indicators that an allow list hides.")
	unwaited   = desc("wait_overflows_total", "Blocks of --on-miss wait that left before their answers for lack of room.")
	hitsLost   = desc("hits_lost_total", "Records of --hits that nobody took.")
	questions  = desc("questions_total", "Questions by source and outcome; each spent budget.", "source", "outcome")
	budget     = desc("budget_tokens", "Questions that could be asked at once.", "source")
	sourceUp   = desc("source_up", "1 while the source answers, 0 when it is only probed.", "source")
	waiting    = desc("waiting", "Indicators that wait for a question.")
	oldest     = desc("waiting_oldest_seconds", "How long the one has waited that has waited longest.")
	bytesHeld  = desc("waiting_bytes", "About what the waiting indicators take.")
	evicted    = desc("evicted_total", "Indicators that left a full table unasked.")
	cached     = desc("cache_entries", "Indicators in the memory cache.")
	documents  = desc("documents_total", "Documents for Elasticsearch that have a final outcome.", "outcome")
	retried    = desc("documents_retried_total", "Times that a document was sent again.")
	requests   = desc("bulk_requests_total", "Requests of the bulk API.")
	unsettled  = desc("documents_waiting_bytes", "Documents without a final outcome, in bytes.")
	feedAge    = desc("feed_age_seconds", "How long ago a feed of the local store was last good.", "feed")
	feedStale  = desc("feed_stale", "1 when a feed is older than its limit.", "feed")
	listed     = desc("local_entries", "Entries of local intelligence.")
	isReady    = desc("ready", "1 while everything that was asked for is there.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("iocpipe_"+name, help, labels, nil)
}

// A collector tells Prometheus what a session has counted, at the moment it is asked.
type collector struct{ *session }

// Describe sends the descriptions of all metrics.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{linesIn, linesOut, verdicts, followUps, found, answeredBy, hidden, unwaited, hitsLost, questions, budget, sourceUp, waiting,
		oldest, bytesHeld, evicted, cached, documents, retried, requests, unsettled, feedAge, feedStale, listed, isReady} {
		ch <- d
	}
}

// Collect sends their values.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, n int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	t := &c.tally
	count(linesIn, t.Lines.Load())
	count(linesOut, t.Shown.Load())
	count(verdicts, t.Malicious.Load(), intel.Malicious.String())
	count(verdicts, t.Related.Load(), intel.Related.String())
	count(verdicts, t.Other.Load(), "other")
	if c.lines != nil {
		count(followUps, c.lines.followUps.Load())
	}
	c.collectElastic(count, gauge)
	count(hidden, t.Hidden.Load())
	for typ := extract.IP; typ <= extract.Antivirus; typ++ {
		count(found, t.Found[typ].Load(), typ.String())
	}
	for layer, name := range filter.Layers {
		count(answeredBy, t.Answered[layer].Load(), name)
	}
	if c.way.waiting != nil {
		count(unwaited, c.way.waiting.Overflowed())
	}
	if c.way.hits != nil {
		count(hitsLost, c.way.hits.Lost())
	}
	gauge(cached, float64(c.know.Cache.Len()))
	gauge(listed, float64(c.know.LocalLen()))
	for _, age := range c.mine.feedAges() {
		gauge(feedAge, age.Age.Seconds(), age.Name)
		gauge(feedStale, oneIf(age.Stale), age.Name)
	}
	gauge(isReady, oneIf(c.stream.problem() == ""))
	c.collectQuestions(count, gauge)
}

// collectQuestions sends what the scheduler has counted.
func (c collector) collectQuestions(count func(*prometheus.Desc, int64, ...string), gauge func(*prometheus.Desc, float64, ...string)) {
	if c.know.Scheduler == nil {
		return
	}
	stats := c.know.Scheduler.Stats()
	for _, s := range stats.Sources {
		for verdict, n := range s.Answered {
			outcome := intel.Verdict(verdict).String()
			if intel.Verdict(verdict) == intel.NoVerdict {
				outcome = "not-known"
			}
			count(questions, int64(n), s.Source, outcome)
		}
		count(questions, int64(s.Failed), s.Source, "error")
		gauge(budget, s.Tokens, s.Source)
	}
	for _, h := range c.know.Scheduler.Health() {
		gauge(sourceUp, oneIf(h.Up), h.Source)
	}
	gauge(waiting, float64(stats.Waiting))
	gauge(oldest, stats.Oldest.Seconds())
	gauge(bytesHeld, float64(stats.Bytes))
	count(evicted, int64(stats.Evicted))
}

// collectElastic sends what became of documents.
func (c collector) collectElastic(count func(*prometheus.Desc, int64, ...string), gauge func(*prometheus.Desc, float64, ...string)) {
	if c.elastic == nil {
		return
	}
	n := c.elastic.bulk.Counts()
	count(documents, n.Indexed, "indexed")
	count(documents, n.Duplicates, "duplicate")
	count(documents, n.DeadLetters, "dead-letter")
	count(retried, n.Retried)
	count(requests, n.Requests)
	gauge(unsettled, float64(n.Held))
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
