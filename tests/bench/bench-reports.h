/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reports as the agent's own exporter makes them, framed as the server's ingest takes them. */

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* @ret: of @edges edges, at @at_ms; the owner's to free. @round: lets the values differ. Return: 0, -errno. */
int bench_report(unsigned edges, unsigned round, int64_t at_ms, struct sonde_buf *ret);
