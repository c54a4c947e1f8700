/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/tasks/spooled.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"
#include "base/num.h"

#define KEY " spooled="

uint64_t sonde_agent_spooled(const struct sonde_agent *a, int64_t now_ms)
{
	const char *at;
	char digits[24];
	uint64_t n;

	assert(a);

	if (!sonde_agent_live(a, now_ms))
		return 0;
	at = strstr(sonde_json_get_text(a->properties, "delivery", ""), KEY);
	if (!at)
		return 0;
	at += strlen(KEY);
	(void)snprintf(digits, sizeof(digits), "%.*s", (int)strcspn(at, " "), at);
	return sonde_parse_u64(digits, 0, INT64_MAX, &n) < 0 ? 0 : n;
}
