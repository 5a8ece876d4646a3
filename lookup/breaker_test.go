package lookup

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"
)

var errDown = errors.New("h.example: connection refused")

func TestBreakerIgnoresWhatWasOnItsWay(t *testing.T) {
	var b breaker
	for i := range opensAfter {
		if opened := b.fail(errDown, epoch, epoch); opened != (i == opensAfter-1) {
			t.Fatalf("failure %d: opened is %v", i+1, opened)
		}
	}
	b.fail(errDown, after(-time.Second), after(time.Second))
	if want := after(firstProbe); !b.notBefore.Equal(want) {
		t.Errorf("next probe at %v, want %v: an old request is no probe", b.notBefore, want)
	}
	b.fail(errDown, after(firstProbe), after(firstProbe))
	if want := after(3 * firstProbe); !b.notBefore.Equal(want) {
		t.Errorf("next probe at %v, want %v", b.notBefore, want)
	}
}

func TestBreakerClosesAtAnAnswer(t *testing.T) {
	var b breaker
	for range opensAfter + 3 {
		b.fail(errDown, epoch, epoch)
	}
	if !b.succeed(after(time.Hour), after(time.Hour)) || b.open || b.failures != 0 || b.err != nil {
		t.Errorf("after an answer: %+v", b)
	}
	if b.succeed(after(time.Hour), after(time.Hour)) {
		t.Error("closed twice")
	}
	if b.fail(errDown, after(time.Hour), after(time.Hour)) {
		t.Error("one failure opened it")
	}
}

func TestBreakerAnswersBetweenResetTheCount(t *testing.T) {
	var b breaker
	for range 10 {
		for range opensAfter - 1 {
			b.fail(errDown, epoch, epoch)
		}
		b.succeed(epoch, epoch)
	}
	if b.open {
		t.Error("open, though never so many failed in a row")
	}
}

func TestBreakerKeepsTheLongerWait(t *testing.T) {
	for _, long := range []time.Duration{firstProbe / 2, time.Hour} {
		var b breaker
		b.fail(&BusyError{RetryAfter: long}, after(time.Second), after(time.Second))
		b.fail(&BusyError{RetryAfter: long / 2}, epoch, after(time.Second))
		b.succeed(epoch, after(time.Second))
		if want := after(time.Second + long); !b.notBefore.Equal(want) {
			t.Errorf("asked again at %v, want %v", b.notBefore, want)
		}
	}
}

// A source that wants to be left alone for long is down: that is worth a word, and one probe.
func TestBreakerOpensAtLongRetryAfter(t *testing.T) {
	var b breaker
	if b.fail(&BusyError{RetryAfter: firstProbe - 1}, epoch, epoch) || b.open {
		t.Error("opened for less than its own first pause")
	}
	if !b.fail(&BusyError{RetryAfter: time.Hour}, epoch, epoch) || !b.open || !b.notBefore.Equal(after(time.Hour)) {
		t.Errorf("did not open until then: %+v", b)
	}
	if !b.succeed(after(time.Hour), after(time.Hour)) || !b.notBefore.IsZero() {
		t.Errorf("after the probe's answer: %+v", b)
	}
}

func TestBreakerPausesWhereRetryAfterIsMissing(t *testing.T) {
	var b breaker
	for i, want := range []time.Duration{15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute} {
		b.fail(&BusyError{Status: http.StatusTooManyRequests}, epoch, epoch)
		if b.open != (want >= firstProbe) || !b.notBefore.Equal(after(want)) {
			t.Errorf("429 number %d: open %v, asked again at %v, want %v", i+1, b.open, b.notBefore, after(want))
		}
	}
	for range 100 {
		b.fail(&BusyError{Status: http.StatusTooManyRequests}, epoch, epoch)
	}
	if want := after(maxProbePause); !b.notBefore.Equal(want) {
		t.Errorf("after many: asked again at %v, want %v", b.notBefore, want)
	}
	b = breaker{}
	if b.fail(&BusyError{Status: http.StatusServiceUnavailable}, epoch, epoch); b.notBefore.After(epoch) {
		t.Errorf("after 503: asked again at %v, want at once", b.notBefore)
	}
}

func TestBreakerOpensAtOnceWithoutAccess(t *testing.T) {
	var b breaker
	if !b.fail(fmt.Errorf("h.example: %w", ErrDenied), epoch, epoch) || !b.notBefore.Equal(after(firstProbe)) {
		t.Errorf("open %v, asked again at %v, want %v", b.open, b.notBefore, after(firstProbe))
	}
}
