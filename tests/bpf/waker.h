/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A thread that waits until the one that started it sleeps in a call, leaves it asleep for a while, and does what the
 * call waits for. What was measured of that sleep is held between two of the test's own times, however busy the machine:
 * from asleep_ns to wakes_ns the caller is known not to have run; its own clock around the call is the other bound.
 */

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

struct waker {
	long call; /* the system call's number */
	void (*wake)(int fd);
	int fd;
	/* Behind waker_join(): */
	uint64_t asleep_ns; /* it was off the CPU by then … */
	uint64_t wakes_ns;  /* … and is still, when wake() is called … */
	uint64_t woke_ns;   /* … which returned by then */
	pid_t caller;
	pthread_t thread;
};

/* The calling thread's next @call that sleeps is the one. */
void waker_start(struct waker *w);
/* A failed test when the caller was not seen asleep within a minute. */
void waker_join(struct waker *w);

/* Inclusive; says all three. */
#define assert_between(low, value, high)                                                           \
	do {                                                                                       \
		uint64_t _low = (low), _value = (value), _high = (high);                           \
		print_message("%s: %llu <= %llu <= %llu ns\n", #value, (unsigned long long)_low,   \
			      (unsigned long long)_value, (unsigned long long)_high);              \
		assert_true(_low <= _value && _value <= _high);                                    \
	} while (0)
