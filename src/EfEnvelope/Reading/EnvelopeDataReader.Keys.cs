using EfEnvelope.Keys;
using EfEnvelope.Metadata;
using EfEnvelope.Storage;

namespace EfEnvelope.Reading;

/// <content>The keys that the cells name: pinned, loaded where they are missing, and asked for again while the reader stands open.</content>
internal sealed partial class EnvelopeDataReader
{
    public RingKey GetKey(Guid keyId, ColumnDeclaration column, int ordinal)
    {
        RingKey? key;
        if (_missing.Count == 0 || !_missing.Contains(keyId))
        {
            if (_last is { } last && last.Id == keyId && KeyRing.IsUsable(last))
            {
                return last;
            }

            if (_pins.TryGet(keyId, out key) && KeyRing.IsUsable(key))
            {
                return _last = key;
            }
        }
        else
        {
            // A bulk reader that was not buffered after all: load what is missing, and check it, before the first value is opened.
            SynchronousBridge.Run(() => LoadAndCheckAsync(CancellationToken.None));
            if (_pins.TryGet(keyId, out key))
            {
                return _last = key;
            }
        }

        throw Why(keyId, column);
    }

    public bool TryRecall(Guid keyId, ColumnDeclaration column, int ordinal, out RingKey key)
    {
        ref var opened = ref _opened[_cellOf[ordinal]];
        key = opened.Key;
        return ReferenceEquals(opened.Column, column) && key.Id == keyId && KeyRing.IsUsable(key) && (_missing.Count == 0 || !_missing.Contains(keyId));
    }

    public void Remember(ColumnDeclaration column, int ordinal, RingKey key) => _opened[_cellOf[ordinal]] = new Opened(column, key);

    public bool HasMet(Guid keyId) => _pins.TryGet(keyId, out _) || _missing.Contains(keyId) || _unopenable.Contains(keyId);

    private void Need(Guid keyId, int index)
    {
        var expected = _checks[index].Expected(_inner, _row);
        if (expected is RowCheck.NoScope)
        {
            throw Moved(keyId, _cells[index]);
        }

        RingKey? key;
        if (_last is { } last && last.Id == keyId && MayUse(last))
        {
            key = last;
        }
        else if (!_pins.TryGet(keyId, out key) || !MayUse(key))
        {
            if (key is { IsAlive: false })
            {
                _pins.Release(key);
                ForgetReleased();
            }

            if (!_ring.TryGetForOpening(keyId, _pins, out key) && !(_session.TransientKeys.TryGetForOpening(keyId, out key) && _pins.TryPin(key, out key)))
            {
                _missing.Add(keyId);
                if (expected is not null)
                {
                    _deferred.Add((keyId, expected, index, _values[index]));
                }

                return;
            }
        }

        _last = key;
        if (expected is not null && !KeyScope.Matches(key.Scope, expected))
        {
            throw Moved(keyId, _cells[index]);
        }
    }

    /// <summary>
    /// Whether a pinned key may open the row's cells: a reader may stand open for hours while its key is erased, or refused by the key service. Asked once a row. In a transaction whose rows of the ring are what they were when it began, there
    /// is nothing to be asked.
    /// </summary>
    private bool MayUse(RingKey key)
    {
        var isAsked = ReferenceEquals(_asked, key);
        if (isAsked && _askedRow == _row)
        {
            return true;
        }

        // One look at the clock a row: rows that come within a millisecond of the answer share it, unless the ring changed.
        var (now, generation) = (_ring.Time.GetTimestamp(), _ring.Generation);
        if (isAsked && !key.IsTransient && generation == _askedGeneration && now - _askedAt < _ring.Time.TimestampFrequency / 1000 && key.IsAlive && KeyRing.IsUsable(key))
        {
            _askedRow = _row;
            return true;
        }

        // One of a transaction that is over: nobody tells it of its end. The look-up forgets those.
        if (key.IsTransient && !(_session.TransientKeys.TryGetForOpening(key.Id, out var own) && ReferenceEquals(own, key)))
        {
            return false;
        }

        if (!_ring.MayOpenOn(key) && !(key.IsAlive && KeyRing.IsUsable(key) && _session.OpenStore().IsTransient))
        {
            return false;
        }

        (_asked, _askedRow, _askedAt, _askedGeneration) = (key, _row, now, generation);
        return true;
    }

    /// <summary>What was let go is asked for again before it is used.</summary>
    private void ForgetReleased()
    {
        (_last, _asked) = (null, null);
        Array.Clear(_opened);
    }

    private async Task LoadAndCheckAsync(CancellationToken cancellationToken)
    {
        await LoadAsync(cancellationToken).ConfigureAwait(false);
        foreach (var (keyId, expected, index, value) in _deferred)
        {
            if (_pins.TryGet(keyId, out var key))
            {
                if (!KeyScope.Matches(key.Scope, expected))
                {
                    throw Moved(keyId, _cells[index]);
                }
            }
            else if (value is not null)
            {
                // EF may have buffered it, and open it when somebody else has loaded the key.
                BufferedCells.RememberScope(value, expected);
            }
            else
            {
                _unchecked = keyId;
            }
        }

        _deferred.Clear();
    }

    private async Task LoadAsync(CancellationToken cancellationToken)
    {
        await _ring.LoadForOpeningAsync(_missing, _session.OpenStore(), _session.TransientKeys, _pins, cancellationToken).ConfigureAwait(false);
        foreach (var keyId in _missing)
        {
            if (!_pins.TryGet(keyId, out _))
            {
                _unopenable.Add(keyId);
            }
        }

        _missing.Clear();
        ForgetReleased();
        RefuseForeign();
    }

    private readonly record struct Opened(ColumnDeclaration? Column, RingKey Key);
}
