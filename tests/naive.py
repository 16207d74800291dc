"""Reference implementations of the kernels in plain numpy, one for each, written another way: what every kernel must equal.

Shapes as in the kernels. Counters are Python whole numbers, logarithms take exponents by `frexp`, angles by division, and
whole arrays are handled at once where the kernels loop; only the polynomials' coefficients are shared. Floats are float32.
"""

import numpy as np

from mortalsim.kernels import BY_BLOCK, BY_SOURCE, NOT_NORMALISED, Asked, philox
from mortalsim.kernels.counters import CYCLE, ROUND, ROUND_REST
from mortalsim.kernels.devices import DOWN, ERROR, HIGH, LOW, NU, UP, WRITTEN, G

F = np.float32


def philox4x32(c0, c1, c2, c3, k0, k1):
    """Four words of one block, in unbounded whole numbers."""
    x = [c0, c1, c2, c3]
    for r in range(7):
        high0, low0 = divmod(0xD2511F53 * x[0], 2**32)
        high1, low1 = divmod(0xCD9E8D57 * x[2], 2**32)
        x = [high1 ^ x[1] ^ (k0 + r * 0x9E3779B9) % 2**32, low1, high0 ^ x[3] ^ (k1 + r * 0xBB67AE85) % 2**32, low0]
    return tuple(x)


def words(key, c1, c2, c3, n):
    """Words 0 to n - 1 of the stream, block q in elements 4q to 4q + 3."""
    blocks = [philox4x32(q, c1, c2, c3, int(key[0]), int(key[1])) for q in range((n + 3) // 4)]
    return np.array(blocks, dtype=np.uint64).reshape(-1)


def horner(x, *coefficients):
    """c0 + c1 x + ..., in float32."""
    total = np.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        total = c + x * total
    return total


def natural_log(x):
    """Ln x of positive float32."""
    mantissa, exponent = np.frexp(np.asarray(x, F))
    small = mantissa < F(np.sqrt(0.5))  # bring the mantissa from 1/2..1 to sqrt(1/2)..sqrt(2)
    f = np.where(small, mantissa * 2, mantissa) - F(1)
    e = (exponent - small).astype(F)
    tail = horner(f, *(getattr(philox, f"L{k}") for k in range(8)))
    return (f + ((f * f) * f * tail - F(0.5) * (f * f) + e * philox.LN2_LOW)) + e * philox.LN2_HIGH


def natural_exp(x):
    """e^x of float32 x at most 0."""
    k = np.maximum(np.rint(x * philox.ONE_BY_LN2), F(-126))
    r = np.maximum((x - k * philox.LN2_HIGH) - k * philox.LN2_LOW, F(-1))
    tail = horner(r, *(getattr(philox, f"E{i}") for i in range(5)))
    return np.ldexp(F(1) + (r + (r * r) * tail), k.astype(np.int32))


def cos_sin(word):
    """Cosine and sine of word / 2^32 turns."""
    word = np.asarray(word).astype(np.int64)
    quarter = np.floor_divide(word + 2**29, 2**30)
    t = F(1) * (word - quarter * 2**30).astype(F) / F(2**30)
    sine = t * horner(t * t, philox.S0, philox.S1, philox.S2, philox.S3)
    cosine = F(1) + t * t * horner(t * t, philox.C0, philox.C1, philox.C2, philox.C3)
    q = quarter % 4
    return np.choose(q, [cosine, -sine, -cosine, sine]), np.choose(q, [sine, cosine, -sine, -cosine])


def fill_normal(key, c1, c2, c3, out):
    """Box-Muller over word pairs (0, 1) and (2, 3), row by row."""
    for r, row in enumerate(out):
        a, b = words(key, c1 + r, c2, c3, row.size).reshape(-1, 2).T
        radius = np.sqrt(F(-2) * natural_log(((a // 2).astype(F) + F(0.5)) / F(2**31)))
        row[:] = (radius[:, None] * np.stack(cos_sin(b), axis=1)).reshape(-1)[: row.size]


def sign_pattern(address, n):
    """Signs 0 to n - 1, read from one long binary number a block."""
    (k0, k1), turn, where = address
    out = []
    for q in range((n + 127) // 128):
        w = philox4x32(q, 0, turn, where, int(k0), int(k1))
        number = w[0] + (w[1] << 32) + (w[2] << 64) + (w[3] << 96)
        out += [1 if digit == "1" else -1 for digit in reversed(f"{number:0128b}")]
    return np.array(out[:n], F)


def add_signs(weights, amplitude, gain, address, start, first, out):
    """Weights plus scaled signs, some rows and columns of them."""
    rows, (n, columns) = start + len(out), (weights.shape[1], out.shape[1])
    pattern = sign_pattern(address, rows * n).reshape(rows, n)[start:]
    out[:] = (weights + (F(amplitude) * gain) * pattern)[:, first : first + columns]


def sum_of_squares(x):
    """Row sums of squares: 128 running sums side by side, then the sum of the right half added to the left one's."""
    squares = np.pad(x * x, ((0, 0), (0, -x.shape[1] % 128)))
    lanes = np.zeros((x.shape[0], 128), F)
    for start in range(0, squares.shape[1], 128):
        lanes = lanes + squares[:, start : start + 128]
    while lanes.shape[1] > 1:
        left, right = np.split(lanes, 2, axis=1)
        lanes = left + right
    return lanes[:, 0]


def converted(x, converter):
    """What ``x`` becomes between a converter's levels, its gain and offset left out."""
    x, step, level = np.clip(x, F(converter.low), F(converter.high)), F(converter.step), F(converter.level)
    return np.rint((x - level) / step) * step + level if step else x


def normalised(total, count, normaliser):
    """Factor that a normaliser gives each row, a column of them, for sums of so many squares."""
    return (F(normaliser.gain) / (F(normaliser.epsilon) + np.sqrt(total / F(count))))[:, None]


def sum_with_overlay(v, lines):
    """Row sums of squares, those of ``lines`` added last."""
    plain = v.copy()
    plain[:, lines] = 0
    total = sum_of_squares(plain)
    for line in lines:
        total = total + v[:, line] * v[:, line]
    return total


def drive_lines(v, lines, normaliser, converter, pre, power):
    """Normaliser and digital-to-analog converter."""
    n = v.shape[1]
    x = v * normalised(sum_with_overlay(v, lines), n, normaliser) if normaliser.place != NOT_NORMALISED else v
    pre[:, :n], pre[:, n:] = converted(x, converter) * converter.gain + converter.offset, 1
    power[:] = sum_of_squares(pre)


def drive_blocks(v, lines, rows, normaliser, converter, pre, power):
    """The same, block after block."""
    n, x = v.shape[1], v
    if normaliser.place == BY_SOURCE:
        x = v * normalised(sum_with_overlay(v, lines), n, normaliser)
    for k, own in enumerate(rows):
        seen = np.pad(x, ((0, 0), (0, 2)))[:, own]
        if normaliser.place == BY_BLOCK:
            seen = seen * normalised(sum_of_squares(seen), max(1, (own < n).sum()), normaliser)
        driven = converted(seen, converter) * converter.gain[k] + converter.offset[k]
        pre[k] = np.where(own < n, driven, own == n)
        power[k] = sum_of_squares(pre[k])


def transfer(v, neurons):
    """`TransferCurve` in float32, table (T, knots) and T = 1 or v.shape[1]; a rectifier without knots."""
    start, step, values, slopes = neurons.start, neurons.step, neurons.values, neurons.slopes
    if not values.shape[1]:
        return np.where(v > 0, v, F(neurons.leak) * v)
    place = (v - F(start)) / F(step)
    k = np.clip(np.floor(np.nan_to_num(place)), 0, values.shape[1] - 2).astype(int)
    t = place - k.astype(F)
    neuron = np.broadcast_to(np.arange(v.shape[1]) if len(values) > 1 else 0, v.shape)
    left, right = slopes[neuron, k], slopes[neuron, k + 1]
    inside = np.clip(t, 0, 1)
    bend = F(0.5) * (right - left) * inside**2
    beyond = np.where(t < 0, left * t, right * np.maximum(t - F(1), 0))
    return values[neuron, k] + F(step) * (left * inside + bend + beyond)


def read_out(products, noise, nudge, neurons, converter, address, span, out):
    """Noise, nudge, curve, saturation, converter; all neurons are worked out, some written."""
    z, (first, last) = products.copy(), span
    if noise.own.size or noise.line or noise.neuron:
        normals = np.empty_like(z)
        fill_normal(address.key, 0, address.turn, address.where, normals)
        common = (F(noise.line) * noise.power + F(noise.neuron))[:, None]
        z += np.sqrt(noise.own + common if noise.own.size else common) * normals
    if nudge.size:
        z += nudge * neurons.port
    y = transfer(z * neurons.gain + neurons.offset, neurons)
    y = np.clip(y, -neurons.saturation, neurons.saturation) * converter.gain + converter.offset
    out[:, first:last] = converted(y, converter)[:, first:last]


def decoded(devices):
    """The numbers that codes stand for, (n_in, n_out, parameters, 2)."""
    return devices.scales[:, :1] + devices.scales[:, 1:] * devices.parameters.astype(F)


def drifted(g, nu, written, now, t0):
    """Power-law drift."""
    age = np.maximum(F(now) - written, F(0))
    return np.where(nu == 0, g, g * natural_exp(-nu * natural_log(F(1) + age / F(t0))))


def conducting(devices, present):
    """What devices conduct now, (n_in, n_out, 2)."""
    if present.aged.size:
        return present.aged[:, :, 0]
    values = decoded(devices)
    if values.shape[-2] <= NU:
        return devices.state[..., G, :]
    return drifted(devices.state[..., G, :], values[..., NU, :], devices.state[..., WRITTEN, :], present.now, present.t0)


def asked_of(asked, device):
    """Pulses, with their sign, that a change asks of one device of each pair."""
    change, (rising, falling) = asked.change, asked.shares[:, device]
    per_unit = F(asked.pulses_per_unit)
    return np.where(change * per_unit > 0, change * (per_unit * rising), change * (per_unit * falling))


def apply_pulses(devices, asked, pulse_law, present, effective, address, sent):
    """Pulse after pulse, device after device."""
    (rows, n_out), first, ctoc = asked.change.shape, asked.first, pulse_law.ctoc
    values, g = decoded(devices), conducting(devices, present)
    counts, moves = np.zeros((rows, n_out, 2), np.int64), np.zeros(effective.weights.shape, bool)
    wanted, now = np.stack([asked_of(asked, device) for device in range(2)], axis=-1), conducting(devices, present).copy()
    for i, j, device in np.ndindex(rows, n_out, 2):
        q, place = wanted[i, j, device], (first + i, j, slice(None), device)
        d, size = 2 * ((first + i) * n_out + j) + device, float(abs(q))
        count = int(size) + int(landing_place(address, d) < size - int(size))
        counts[i, j, device] = min(count, asked.limit) if asked.limit else count
        own = values[place]
        if counts[i, j, device] and (own[UP] or own[DOWN]):
            moves[first + i, j] = True
            normals = [noise(address, d, p) if ctoc else F(0) for p in range(counts[i, j, device])]
            table = pulse_law.responses[0 if q > 0 else 1]
            new = pulse(g[first + i, j, device], own, normals, q > 0, table, ctoc)
            devices.state[place][G] = now[first + i, j, device] = new
            devices.state[place][WRITTEN:] = present.now
    update(devices, now, effective, moves)
    sent.row_pulses[first : first + rows] = counts.max(axis=(1, 2), initial=0)
    if sent.by_device.size:
        sent.by_device[first : first + rows] = counts
    return int(counts.sum())


def move_devices(devices, wanted, present, effective):
    """Changes of conductance, device after device, within the bounds of each."""
    (rows, n_out), first = wanted.change.shape, wanted.first
    values, now = decoded(devices), conducting(devices, present).copy()
    asked = Asked(wanted.change, wanted.siemens_per_unit, wanted.shares, 0, first)
    steps = np.stack([asked_of(asked, device) for device in range(2)], axis=-1)
    for i, j, device in np.ndindex(rows, n_out, 2):
        place, own = (first + i, j, slice(None), device), values[first + i, j, :, device]
        if steps[i, j, device] and (own[UP] or own[DOWN]):
            new = np.clip(now[first + i, j, device] + steps[i, j, device], own[LOW], own[HIGH])
            devices.state[place][G] = now[first + i, j, device] = new
            devices.state[place][WRITTEN:] = present.now
    written = np.zeros(effective.weights.shape, bool)
    written[first : first + rows] = True
    update(devices, now, effective, written)


def block(address, c0, c1, purpose):
    """Four words for a purpose, which stands in the uppermost four bits."""
    key, turn, where = address
    return philox4x32(c0, c1, turn, where % 2**28 + purpose * 2**28, int(key[0]), int(key[1]))


def landing_place(address, e):
    """One uniform number of 31 bits, the first eight from a block shared by sixteen elements."""
    byte = b"".join(word.to_bytes(4, "little") for word in block(address, e // 16, 0, ROUND))[e % 16]
    word = block(address, e, 0, ROUND_REST)[0]
    return (byte + (word // 512 + 0.5) / 2**23) / 256


def noise(address, d, p):
    """What pulse p of device d differs by: 16 bits of radius and of angle from a word, the angle's cosine or sine."""
    word = block(address, d // 512 * 128 + d % 128, p // 2, CYCLE)[d // 128 % 4]
    radius = np.sqrt(F(-2) * natural_log((F(word // 2**16) + F(0.5)) / F(2**16)))
    return radius * cos_sin(np.uint64(word % 2**16 * 2**16))[p % 2]


def pulse(g, own, normals, up, table, ctoc):
    """Send one device with these parameters, conducting ``g``, one pulse for each normal; return what it conducts then."""
    for normal in normals:
        per_range = F(1) / (own[HIGH] - own[LOW]) if own[HIGH] > own[LOW] else F(0)
        u = np.clip((g - own[LOW]) * per_range, F(0), F(1))
        place = u * F(len(table) - 1)
        k = min(int(place), len(table) - 2)
        h = table[k] + (table[k + 1] - table[k]) * (place - F(k))
        wobble = F(1) + F(ctoc) * normal
        g = np.clip(g + (own[UP] if up else -own[DOWN]) * h * wobble, own[LOW], own[HIGH])
    return g


def update(devices, g, effective, moves):
    """Weights, and variances if wanted, of the pairs that move, from conductances (n_in, n_out, 2)."""
    noise, unit = effective.noise, F(effective.unit)
    readings = g * (F(1) + decoded(devices)[..., ERROR, :]) / unit
    plus, minus = readings[..., 0], readings[..., 1]
    effective.weights[moves] = (plus - minus)[moves]
    if not effective.variance.size:
        return
    relative = F(noise.relative)
    variance = relative * relative * (plus * plus + minus * minus)
    if noise.table.size:
        last = len(noise.table) - 1
        place = np.clip((readings - F(noise.first_reading)) * (F(last) / F(noise.width)), F(0), F(last))
        knot = np.minimum(place.astype(int), last - 1)
        low, high = noise.table[knot], noise.table[knot + 1]
        sd = low + (high - low) * (place - knot.astype(F))
        variance = sd[..., 0] * sd[..., 0] + sd[..., 1] * sd[..., 1]
    effective.variance[moves] = variance[moves]


def compute_weights(devices, present, effective, first, last):
    """Weights and variances from conductances."""
    rows = np.zeros(effective.weights.shape, bool)
    rows[first:last] = True
    update(devices, conducting(devices, present), effective, rows)
