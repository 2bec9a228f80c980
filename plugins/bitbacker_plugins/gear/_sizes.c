/* The rules of docs/chunkers.md about sizes; _walk.py is the same function. */
#include "_sizes.h"

/* The size of the chunk that starts the span, or 0 when more bytes have to decide. */
static size_t chunk_size(const Rule *rule, Span span, int final)
{
    size_t stop = span.size < rule->max_size ? span.size : rule->max_size;
    if (stop > rule->min_size) {
        size_t change = stop < rule->switch_size ? stop : rule->switch_size;
        size_t at = rule->first_match(rule->hash, span.bytes, rule->min_size, change, rule->strict_limit);
        if (at == change)
            at = rule->first_match(rule->hash, span.bytes, change, stop, rule->loose_limit);
        if (at < stop)
            return at;
    }
    return (stop == rule->max_size || final) ? stop : 0;
}

size_t find_ends(const Rule *rule, Span span, int final, size_t *ends)
{
    size_t count = 0;
    size_t done = 0;
    while (done < span.size) {
        Span rest = {span.bytes + done, span.size - done};
        size_t size = chunk_size(rule, rest, final);
        if (size == 0)
            break;
        done += size;
        ends[count++] = done;
    }
    return count;
}
