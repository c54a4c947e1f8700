/* SPDX-License-Identifier: Apache-2.0 */
#include "model/hist.h"

#include "bpf/tcp/tcp_hist.h"

uint32_t sonde_hist_bucket_of(uint64_t us)
{
	return sonde_hist_bucket(us);
}

/* Two digits (one below 10) and the power of ten that they are times of. */
static uint32_t digits_of(uint32_t bucket, uint64_t *ret_scale)
{
	uint64_t scale = 1;

	if (bucket >= SONDE_HIST_BUCKETS)
		bucket = SONDE_HIST_BUCKETS - 1;
	*ret_scale = scale;
	if (bucket < 10)
		return bucket;
	for (uint32_t decade = (bucket - 10) / SONDE_HIST_DECADE_STEPS; decade > 0; decade--)
		scale *= 10;
	*ret_scale = scale;
	return 10 + (bucket - 10) % SONDE_HIST_DECADE_STEPS;
}

uint64_t sonde_hist_lower_us(uint32_t bucket)
{
	uint64_t scale;
	uint32_t digits = digits_of(bucket, &scale);

	return digits * scale;
}

uint64_t sonde_hist_report_lower_us(uint32_t bucket)
{
	uint64_t scale;
	uint32_t digits = digits_of(bucket, &scale);

	if (digits >= 50)
		digits -= digits % 5;
	else if (digits >= 20)
		digits -= digits % 2;
	return digits * scale;
}

uint64_t sonde_hist_report_upper_us(uint64_t lower)
{
	uint32_t bucket = sonde_hist_bucket(lower);

	while (++bucket < SONDE_HIST_BUCKETS) {
		uint64_t next = sonde_hist_report_lower_us(bucket);

		if (next > lower)
			return next;
	}
	return 0;
}
