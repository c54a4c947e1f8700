/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/backend-clock.h"

#include <assert.h>

#include "base/num.h"

static void at_least(struct sonde_backend_clock *c, int64_t ms)
{
	if (c->has_least && c->least_ms >= ms)
		return;
	c->has_least = true;
	c->least_ms = ms;
	if (c->has_most && c->most_ms < ms)
		c->has_most = false;
}

static void at_most(struct sonde_backend_clock *c, int64_t ms)
{
	if (c->has_most && c->most_ms <= ms)
		return;
	c->has_most = true;
	c->most_ms = ms;
	if (c->has_least && c->least_ms > ms)
		c->has_least = false;
}

bool sonde_backend_clock_is_new(const struct sonde_backend_clock *c, uint64_t change)
{
	assert(c);

	for (size_t i = 0; i < SONDE_BACKEND_CLOCK_SEEN_MAX; i++) {
		if (c->seen[i] == change)
			return false;
	}
	return true;
}

void sonde_backend_clock_saw(struct sonde_backend_clock *c, uint64_t change, int64_t update_ms,
			     int64_t missed_ms, int64_t now_ms)
{
	assert(c && now_ms >= 0 && missed_ms >= 0);

	if (update_ms <= 0 || !sonde_backend_clock_is_new(c, change))
		return;
	c->seen[c->seen_at] = change;
	c->seen_at = (c->seen_at + 1) % SONDE_BACKEND_CLOCK_SEEN_MAX;
	if (update_ms - now_ms <= SONDE_BACKEND_CLOCK_LEAD_MAX_MS)
		at_least(c, update_ms - now_ms);
	if (missed_ms && update_ms - missed_ms >= -SONDE_BACKEND_CLOCK_LEAD_MAX_MS)
		at_most(c, update_ms - missed_ms);
}

int64_t sonde_backend_clock_ahead_ms(const struct sonde_backend_clock *c)
{
	assert(c);

	if (c->has_least && c->least_ms > 0)
		return c->least_ms;
	return c->has_most && c->most_ms < 0 ? c->most_ms : 0;
}

int64_t sonde_backend_clock_local_ms(const struct sonde_backend_clock *c, int64_t backend_ms)
{
	return sonde_add_i64(backend_ms, -sonde_backend_clock_ahead_ms(c));
}
