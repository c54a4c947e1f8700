/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Numbers for people. Each writes into @ret and returns it. Fixed units are for json only. */

#include <stdbool.h>
#include <stdint.h>

#define SONDE_UNIT_MAX 48

/* "0 B", "1023 B", "1.5 KiB", "12.4 MiB": three digits of it, never rounded up to 1024. */
const char *sonde_unit_bytes(double bytes, char ret[static SONDE_UNIT_MAX]);

/* "310us", "1.2ms", "2.5s", "61s" */
const char *sonde_unit_us(double us, char ret[static SONDE_UNIT_MAX]);
const char *sonde_unit_ns(double ns, char ret[static SONDE_UNIT_MAX]);

/* "88,201" */
const char *sonde_unit_count(int64_t n, char ret[static SONDE_UNIT_MAX]);

/* "01:05", "1:01:05" */
const char *sonde_unit_clock(int64_t ms, char ret[static SONDE_UNIT_MAX]);

/* "2026-11-21T14:30:15.250Z" or with an offset. Return: 0, -EINVAL. */
int sonde_time_parse(const char *rfc3339, int64_t *ret_wall_ms);

/* Local time "2026-11-21 15:30:15.250 CET", or UTC. */
const char *sonde_time_local(int64_t wall_ms, bool utc, char ret[static SONDE_UNIT_MAX]);
