/* SPDX-License-Identifier: Apache-2.0 */
#include "model/hist.h"

#include "bpf/tcp/tcp_hist.h"

uint32_t sonde_hist_bucket_of(uint64_t us)
{
	return sonde_hist_bucket(us);
}

uint64_t sonde_hist_lower_us(uint32_t bucket)
{
	uint64_t scale = 1;

	if (bucket >= SONDE_HIST_BUCKETS)
		bucket = SONDE_HIST_BUCKETS - 1;
	if (bucket < 10)
		return bucket;
	for (uint32_t decade = (bucket - 10) / SONDE_HIST_DECADE_STEPS; decade > 0; decade--)
		scale *= 10;
	return (10 + (bucket - 10) % SONDE_HIST_DECADE_STEPS) * scale;
}
