package plan

import (
	"bytes"
	"compress/gzip"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
)

// readAll returns the events of a trace, and the error that ended it.
func readAll(trace string) (events []Event, err error) {
	for event, err := range ReadTrace(strings.NewReader(trace)) {
		if err != nil {
			return events, err
		}
		events = append(events, event)
	}
	return events, nil
}

const oneEvent = `{"t":12.5,"event":41,"indicators":[` +
	`{"type":"ip","value":"198.51.100.7","ctx":{"outcome":"fail","host":"10.0.0.9"}},` +
	`{"type":"md5","value":"d41d8cd98f00b204e9800998ecf8427e","ctx":{}}]}` + "\n"

func TestReadTrace(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write([]byte(oneEvent))
	z.Close()
	want := []Event{{
		At: 12500 * time.Millisecond,
		Indicators: []Indicator{
			{extract.Key{Type: extract.IP, Value: "198.51.100.7"},
				extract.Context{Outcome: extract.Fail, Host: "10.0.0.9"}},
			{Key: extract.Key{Type: extract.MD5, Value: "d41d8cd98f00b204e9800998ecf8427e"}},
		},
	}}
	for name, trace := range map[string]string{
		"plain": oneEvent, "gzip": packed.String(), "empty lines": "\n" + oneEvent + "\n\n",
		"no newline": strings.TrimSuffix(oneEvent, "\n"),
	} {
		if got, err := readAll(trace); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, want)
		}
	}
}

func TestReadTraceErrors(t *testing.T) {
	f := func(trace, want string) {
		t.Helper()
		if _, err := readAll(trace); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want it to say %q", trace, err, want)
		}
	}
	f(oneEvent+"{", "line 2")
	f(oneEvent+`{"t":12.4,"indicators":[]}`, "line 2: t: 12.4s")
	f(`{"t":-1}`, "line 1: t: -1")
	f(`{"t":1e300}`, "line 1: t")
	f(`{"t":1,"indicators":[{"type":"url","value":"x"}]}`, `indicators[0].type: unknown type "url"`)
	f(`{"t":1,"indicators":[{"type":"ip","value":"x","ctx":{"outcome":"odd"}}]}`, `unknown outcome "odd"`)
	f("\x1f\x8b, but not gzip", "line 1")
	f("\n"+strings.Repeat("x", maxTraceLine+1), "line 2")
}

// plainLine reads "value" as the key of a malicious report.
func plainLine(line []byte) (extract.Key, intel.Report, error) {
	if string(line) == "broken" {
		return extract.Key{}, intel.Report{}, errors.New("no report")
	}
	return extract.Key{Type: extract.Domain, Value: string(line)}, intel.Report{Known: true, Voted: true, Votes: -1}, nil
}

func TestReadAnswersTruth(t *testing.T) {
	const file = `{"bad.example":{"votes":-1,"related":["198.51.100.7","d41d8cd98f00b204e9800998ecf8427e"]},` +
		`"good.example":{"votes":1,"related":[]}}`
	answers, err := ReadAnswers(strings.NewReader(file), plainLine)
	if err != nil {
		t.Fatal(err)
	}
	f := func(value string, want intel.Verdict) {
		t.Helper()
		report := answers.Lookup(extract.Key{Type: extract.Domain, Value: value})
		if got := report.Verdict(); got != want {
			t.Errorf("%s is %v, want %v", value, got, want)
		}
	}
	f("bad.example", intel.Malicious)
	f("good.example", intel.Benign)
	f("other.example", intel.NoVerdict)
	report := answers.Lookup(extract.Key{Type: extract.Domain, Value: "bad.example"})
	var related []string
	for relation := range report.Relations() {
		related = append(related, relation.Key.Value)
	}
	if want := []string{"198.51.100.7", "d41d8cd98f00b204e9800998ecf8427e"}; !reflect.DeepEqual(related, want) {
		t.Errorf("related %v, want %v", related, want)
	}
}

func TestReadAnswersReportLines(t *testing.T) {
	answers, err := ReadAnswers(strings.NewReader("a.example\n\nb.example\n"), plainLine)
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]intel.Verdict{
		"a.example": intel.Malicious, "b.example": intel.Malicious, "c.example": intel.NoVerdict,
	} {
		report := answers.Lookup(extract.Key{Type: extract.Domain, Value: value})
		if got := report.Verdict(); got != want {
			t.Errorf("%s is %v, want %v", value, got, want)
		}
	}
	_, err = ReadAnswers(strings.NewReader("a.example\nbroken\n"), plainLine)
	if err == nil || !strings.Contains(err.Error(), "line 2: no report") {
		t.Errorf("error %v, want it to name line 2", err)
	}
}

// TestReadAnswersOneReportLine: a single report line is an object, too, but not of objects.
func TestReadAnswersOneReportLine(t *testing.T) {
	const line = `{"response_code":"1","value":"a.example","type":"domain","votes":-1}`
	got := ""
	_, err := ReadAnswers(strings.NewReader(line), func(line []byte) (extract.Key, intel.Report, error) {
		got = string(line)
		return extract.Key{}, intel.Report{}, nil
	})
	if err != nil || got != line {
		t.Errorf("the line reached parse as %q, error %v", got, err)
	}
}

func TestAnswerDelay(t *testing.T) {
	low, high := AnswerDelay("a"), AnswerDelay("a")
	for i := range 1000 {
		d := AnswerDelay(strings.Repeat("x", i))
		low, high = min(low, d), max(high, d)
	}
	if low != 200*time.Millisecond || high != 200*time.Millisecond+255*time.Second/128 {
		t.Errorf("delays from %v to %v", low, high)
	}
	// sha256("abc") begins with 0xba.
	if got, want := AnswerDelay("abc"), 200*time.Millisecond+0xba*time.Second/128; got != want {
		t.Errorf("delay %v, want %v", got, want)
	}
}

func TestWriteAsk(t *testing.T) {
	var buf bytes.Buffer
	ask := Ask{At: 37500 * time.Millisecond, Key: extract.Key{Type: extract.Antivirus, Value: `a"b`}}
	if err := WriteAsk(&buf, ask); err != nil {
		t.Fatal(err)
	}
	if got, want := buf.String(), `{"t":37.500000,"ask":"a\"b","type":"antivirus"}`+"\n"; got != want {
		t.Errorf("wrote %s, want %s", got, want)
	}
}

func FuzzReadTrace(f *testing.F) {
	f.Add(oneEvent)                                    // an event as it should be
	f.Add(oneEvent + oneEvent)                         // the same moment twice
	f.Add(`{"t":null,"indicators":[{"type":"none"}]}`) // members that are missing or empty
	f.Fuzz(func(t *testing.T, trace string) {
		events, _ := readAll(trace)
		var last time.Duration
		for _, event := range events {
			if event.At < last {
				t.Fatalf("%v after %v", event.At, last)
			}
			last = event.At
			for _, ind := range event.Indicators {
				if !extract.AllTypes.Has(ind.Type) {
					t.Fatalf("indicator of type %v", ind.Type)
				}
			}
		}
	})
}

func FuzzReadAnswers(f *testing.F) {
	f.Add([]byte(`{"bad.example":{"votes":-1,"related":["198.51.100.7"]}}`)) // a truth file
	f.Add([]byte("a.example\nb.example\n"))                                  // report lines
	f.Add([]byte(`{"a":null}`))                                              // no report
	f.Fuzz(func(t *testing.T, data []byte) {
		answers, err := ReadAnswers(bytes.NewReader(data), plainLine)
		if (answers == nil) == (err == nil) {
			t.Fatalf("answers %v, error %v", answers, err)
		}
		if answers == nil {
			return
		}
		for value := range answers.truth {
			report := answers.Lookup(extract.Key{Type: extract.Domain, Value: value})
			if !report.Known {
				t.Fatalf("%q is in the file, but not known", value)
			}
		}
	})
}
