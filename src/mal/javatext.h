/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Numbers in text as Java reads and writes them: bucket bounds and durations travel as such text. Folder-private. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/*
 * Double.parseDouble(): white space around it, an exponent, d or f behind it, hexadecimal, Infinity
 * and NaN are fine; "+Inf", "inf" and "" are not. Return: 0, -EINVAL.
 */
int mal_java_double(const char *s, double *ret) _must_check_;

/* Integer.parseInt(). Return: 0, -EINVAL. */
int mal_java_int(const char *s, int32_t *ret) _must_check_;

/* Duration.parse() in milliseconds: "PT1M", "-PT1.5S", "P1DT2H". Return: 0, -EINVAL, -ERANGE. */
int mal_java_duration_ms(const char *s, int64_t *ret) _must_check_;

/* (long) of a double: towards zero, saturating, NaN = 0. */
int64_t mal_java_long(double v);
