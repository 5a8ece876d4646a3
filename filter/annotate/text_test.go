package annotate

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"iocpipe/intel"
)

// formsOf returns the lines of text.log and some that no file should hold.
func formsOf(t testing.TB) [][]byte {
	return append(linesOf(t, "text.log"),
		[]byte("\xff 203.0.113.7 \\ \xe2\x82"), []byte("\x1b[2J\x00\x7f203.0.113.7\t\u202egnp.exe\u009b\U000e0041\r"),
		[]byte(`{"not":"an event", 203.0.113.7`), []byte(`bad \ 203.0.113.7`))
}

func TestGoldenText(t *testing.T) {
	var text, wrapped, plain, coloured []byte
	for _, line := range formsOf(t) {
		a, hits := atNoon(), find(line)
		for _, form := range []struct {
			name  string
			all   *[]byte
			lines []byte
		}{
			{"text", &text, a.AppendText(nil, line, hits)},
			{"wrapped", &wrapped, a.AppendWrapped(nil, nil, line, hits)},
		} {
			if err := VerifyLine(line, form.lines); err != nil {
				t.Errorf("%s: %v\n%s", form.name, err, form.lines)
			}
			*form.all = append(append(*form.all, form.lines...), '\n')
		}
		plain = append(a.AppendPretty(plain, line, hits, false), '\n')
		coloured = append(a.AppendPretty(coloured, line, hits, true), '\n')
	}
	golden(t, "text.golden", text)
	golden(t, "wrapped.golden", wrapped)
	golden(t, "pretty.golden", plain)
	golden(t, "coloured.golden", coloured)
}

func TestWrappedIsAnnotatedOnce(t *testing.T) {
	for _, line := range formsOf(t) {
		wrapped := atNoon().AppendWrapped(nil, nil, line, find(line))
		if !json.Valid(wrapped) {
			t.Fatalf("no JSON: %s", wrapped)
		}
		if again := annotated(t, atNoon(), wrapped); !bytes.Equal(again, wrapped) {
			t.Errorf("again\ngot  %s\nwant %s", again, wrapped)
		}
	}
}

// A wrapped line is annotated as the event is that it is wrapped in, which need not be read where nothing is known.
func TestWrappedIsAnnotatedLikeAnEvent(t *testing.T) {
	const head = `"@timestamp":"2026-11-01T01:00:00.000Z","host":{"name":"h"},`
	for _, line := range formsOf(t) {
		hits := find(line)
		for range 2 {
			a := atNoon()
			got := a.AppendWrapped(nil, []byte(head), line, hits)
			a.choose(line, hits, false)
			if !a.doc.parse(appendBare(nil, []byte(head), line)) {
				t.Fatalf("%q is no event", line)
			}
			if want := a.splice(nil); !bytes.Equal(got, want) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			for i := range hits { // and again when nothing is known of them
				hits[i].Finding = intel.Finding{}
			}
		}
	}
}

func TestWrapper(t *testing.T) {
	f := func(line, want string) {
		t.Helper()
		for size := 1; size <= len(line)+1; size++ {
			var w Wrapper
			got := w.Begin(nil, nil)
			for rest := []byte(line); len(rest) > 0; {
				n := min(size, len(rest))
				got = w.Append(got, rest[:n])
				rest = rest[n:]
			}
			if got = w.End(got); string(got) != want {
				t.Errorf("%q in pieces of %d: got %s, want %s", line, size, got, want)
			}
			if err := VerifyLine([]byte(line), got); err != nil {
				t.Error(err)
			}
		}
	}
	f("", `{"message":""}`)
	f("plain \"ä€\U0001f600\x00\n", `{"message":"plain \"ä€😀\u0000\n"}`)
	f(`C:\x`, `{"message":"C:\\\\x","iocpipe":{"escaped":true}}`)
	f("\xff", `{"message":"\\xFF","iocpipe":{"escaped":true}}`)
	f("ä\xe2\x82", `{"message":"ä\\xE2\\x82","iocpipe":{"escaped":true}}`)
	f("\xe2\x82a\xf0\x9f\x98é", `{"message":"\\xE2\\x82a\\xF0\\x9F\\x98é","iocpipe":{"escaped":true}}`)
	f("\xed\xa0\x80\xc0\xaf", `{"message":"\\xED\\xA0\\x80\\xC0\\xAF","iocpipe":{"escaped":true}}`)
	f("\u2028\ufffd", "{\"message\":\"\u2028\ufffd\"}")
}

func FuzzWrapper(f *testing.F) {
	f.Add([]byte("a\\\xff"), 1) // both reasons to escape
	f.Add([]byte("\xe2\x82\xac"), 2)
	f.Fuzz(func(t *testing.T, line []byte, cut int) {
		cut = min(max(cut, 0), len(line))
		var w Wrapper
		got := w.End(w.Append(w.Append(w.Begin(nil, nil), line[:cut]), line[cut:]))
		var event struct {
			Message string
			Iocpipe struct{ Escaped bool }
		}
		if err := json.Unmarshal(got, &event); err != nil {
			t.Fatalf("%v: %s", err, got)
		}
		want := string(line)
		if event.Iocpipe.Escaped {
			event.Message = unescapeMessage(event.Message)
		}
		if event.Message != want {
			t.Fatalf("%q comes back as %q", line, event.Message)
		}
		if err := VerifyLine(line, got); err != nil {
			t.Fatal(err)
		}
	})
}

// unescapeMessage is what a reader of an escaped message does.
func unescapeMessage(s string) string {
	var out []byte
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '\\':
			out = append(out, s[i])
		case s[i+1] == '\\':
			out = append(out, '\\')
			i++
		default:
			out = append(out, byte(strings.IndexByte(upperHex, s[i+2])<<4|strings.IndexByte(upperHex, s[i+3])))
			i += 3
		}
	}
	return string(out)
}

func TestSafe(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if got := Safe(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	f("plain\ttab ä 漢字 👍 \u00a0", "plain\ttab ä 漢字 👍 \u00a0")
	f("\x1b[31mred\x1b[0m", `\x1b[31mred\x1b[0m`)
	f("a\nb\rc\x00\x7f", `a\x0ab\x0dc\x00\x7f`)
	f("\u202eexe\u2066\u200b\ufeff\u009b", `\u202eexe\u2066\u200b\ufeff\u009b`)
	f("\U000e0041", `\U000e0041`)
	f("\xff\xe2\x82", `\xff\xe2\x82`)
	f("\ufffd", "\ufffd")
	f("\u2028", `\u2028`)
}

func TestPrettyColoursOverlaps(t *testing.T) {
	line := []byte("to joe@good.example!")
	got := string(atNoon().AppendPretty(nil, line, find(line), true))
	if want := "to \x1b[36mjoe@good.example\x1b[0m!\n"; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q first", got, want)
	}
}

func TestAppendTextDoesNotAllocate(t *testing.T) {
	a, line := atNoon(), linesOf(t, "text.log")[0]
	hits := find(line)
	dst := a.AppendText(nil, line, hits)
	if n := testing.AllocsPerRun(100, func() { dst = a.AppendText(dst[:0], line, hits) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAppendText(b *testing.B) {
	a, line := New(), linesOf(b, "text.log")[0]
	hits := find(line)
	var dst []byte
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		dst = a.AppendText(dst[:0], line, hits)
	}
}
