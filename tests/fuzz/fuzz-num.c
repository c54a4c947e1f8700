/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers from text: whatever the bytes, each parser says yes or no, and says yes to what it printed. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/num.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = malloc(size + 1);
	uint64_t u = 0, again = 0;
	int64_t i = 0;
	double d = 0;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (sonde_parse_u64(text, 0, UINT64_MAX, &u) == 0) {
		char printed[32];

		(void)snprintf(printed, sizeof(printed), "%" PRIu64, u);
		if (sonde_parse_u64(printed, 0, UINT64_MAX, &again) < 0 || again != u)
			abort();
	}
	(void)!sonde_parse_i64(text, INT64_MIN, INT64_MAX, &i);
	(void)!sonde_parse_double(text, &d);
	(void)!sonde_parse_duration_ns(text, &u);
	(void)!sonde_parse_bytes(text, &u);
	return 0;
}
