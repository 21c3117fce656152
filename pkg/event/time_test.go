package event

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestReadTimeText: one instant, as many programs write it.
func TestReadTimeText(t *testing.T) {
	at := time.Date(2024, 3, 10, 2, 30, 0, 0, time.UTC)
	for text, order := range map[string]DateOrder{
		"2024-03-10T02:30:00Z": AnyOrder, "2024-03-10T02:30:00.000Z": AnyOrder, "2024-03-10T02:30:00+00:00": AnyOrder,
		"2024-03-10T04:30:00+02:00": AnyOrder, "2024-03-10T04:30:00+0200": AnyOrder,
		"2024-03-09T21:30:00.000-05": AnyOrder,
		"2024-03-10 02:30:00":        AnyOrder, "2024-03-10 02:30:00 UTC": AnyOrder,
		"2024-03-10 02:30:00.000000 UTC": AnyOrder,
		"2024-03-10 02:30:00+00":         AnyOrder, "2024-03-10 02:30:00 +0000 UTC": AnyOrder,
		"2024-03-10 02:30:00.000 +0000": AnyOrder,
		"2024-03-10t02:30:00z":          AnyOrder, "2024-03-10T02:30Z": AnyOrder, "2024-03-10T02:30:00,000Z": AnyOrder,
		"20240310T023000Z": AnyOrder, "20240310T0230Z": AnyOrder, "20240310023000": AnyOrder,
		"2024/03/10 02:30":                         AnyOrder,
		"2024-03-10T03:30:00+01:00[Europe/Berlin]": AnyOrder, "2024/3/10 2:30 AM": AnyOrder,
		"2024.03.10 02:30": AnyOrder,
		"1710037800":       AnyOrder, "1710037800000": AnyOrder, "1710037800000000": AnyOrder,
		"1710037800000000000": AnyOrder,
		"1710037800.000":      AnyOrder, "1.7100378e9": AnyOrder, "1.7100378E12": AnyOrder, " 1710037800 ": AnyOrder,
		"Sun, 10 Mar 2024 02:30:00 GMT": AnyOrder, "Sun, 10 Mar 2024 04:30:00 +0200": AnyOrder,
		"Sun Mar 10 02:30:00 2024":                                           AnyOrder,
		"Sun Mar 10 02:30:00 UTC 2024":                                       AnyOrder,
		"Sun Mar 10 2024 03:30:00 GMT+0100 (Central European Standard Time)": AnyOrder,
		"10/Mar/2024:02:30:00 +0000":                                         AnyOrder,
		"March 10, 2024 2:30 AM":                                             AnyOrder,
		"March 10, 2024, at 2:30:00 AM UTC":                                  AnyOrder,
		"10-MAR-2024 02:30:00":                                               AnyOrder, "10 march 2024 02:30": AnyOrder,
		"Mar 10th 2024 02:30:00.000": AnyOrder,
		"10.03.2024 02:30":           AnyOrder, "03/10/2024 02:30": MonthFirst, "3/10/24 2:30 AM": MonthFirst,
		"10/03/2024 02:30:00": DayFirst,
		"10.3.24, 02:30":      DayFirst, "10-03-2024 02:30": DayFirst, "03/10/2024T02:30:00Z": MonthFirst,
	} {
		got, err := ReadTimeText([]byte(text), order)
		if err != nil || !got.Equal(at) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	day := time.Date(2024, 12, 25, 0, 0, 0, 0, time.UTC)
	for _, text := range []string{"2024-12-25", "20241225", "25/12/2024", "12/25/2024", "25.12.2024",
		"2024-12-24T24:00:00Z", "2024-12-24 24:00", "Dec 25 2024", "25 December 2024"} {
		if got, err := ReadTimeText([]byte(text), AnyOrder); err != nil || !got.Equal(day) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]error{
		"03/01/2024 10:00": ErrAmbiguousDate, "1/2/24": ErrAmbiguousDate, "2024-03-10 02:30:00 EST": ErrUnknownZone,
		"Sun Mar 10 02:30:00 CST 2024": ErrUnknownZone, "2024-02-30": ErrNoTime, "2024-13-01": ErrNoTime,
		"yesterday": ErrNoTime,
		"":          ErrNoTime, "12345": ErrNoTime, "2024-03-10T25:00:00Z": ErrNoTime,
		"2024-03-10T02:61:00Z":     ErrNoTime,
		"10:30":                    ErrNoTime,
		"2024-03-10T02:30:00Zjunk": ErrUnknownZone, "2024-03-10T02:30:00Z 1": ErrNoTime, "2024": ErrNoTime,
		"NaN":         ErrNoTime,
		"May":         ErrNoTime,
		"32 May 2024": ErrNoTime, "13:00 PM 3 May 2024": ErrNoTime, "1-2": ErrNoTime, "1.2.3": ErrNoTime,
		"v1.2.2024":                  ErrNoTime,
		"2024-03-10 02:30:00 +19:00": ErrNoTime, "- 1 may 2024": nil, strings.Repeat("9", 90): ErrNoTime,
	} {
		if got, err := ReadTimeText([]byte(text), AnyOrder); !errors.Is(err, want) {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
}

// FuzzReadTimeText: whatever is read is an instant that can be written as RFC 3339 and
// read again, and the fast form and the general one agree.
func FuzzReadTimeText(f *testing.F) {
	for _, s := range []string{"2024-03-10T02:30:00Z", "10/Mar/2024:02:30:00 +0000", "1.7e12", "3/4/2024 1:02 PM",
		"2024-03-10 1:2 GMT+1 (x)", "1 may 2024 +"} {
		f.Add(s, uint8(0))
	}
	f.Fuzz(func(t *testing.T, s string, order uint8) {
		at, err := ReadTimeText([]byte(s), DateOrder(order%3))
		if err != nil || at.Year() < 1 || at.Year() > 9999 {
			return
		}
		again, err := ReadTimeText([]byte(at.UTC().Format(time.RFC3339Nano)), AnyOrder)
		if err != nil || !again.Equal(at) {
			t.Fatalf("%q is %v, which reads as %v, %v", s, at, again, err)
		}
	})
}
