using System.Collections;
using System.Data;
using System.Data.Common;
using EfEnvelope.Storage;

namespace EfEnvelope.Reading;

/// <summary>The members that hand out cells or pass through.</summary>
internal sealed partial class EnvelopeDataReader
{
    private int _recordsAffected;

    public override int Depth => _inner.Depth;

    public override int FieldCount => _cellOf.Length;

    public override int VisibleFieldCount => _inner.VisibleFieldCount;

    public override bool HasRows => _inner.HasRows;

    public override bool IsClosed => _drained || _inner.IsClosed;

    public override int RecordsAffected => _drained ? _recordsAffected : _inner.RecordsAffected;

    public override object this[int ordinal] => GetValue(ordinal);

    public override object this[string name] => GetValue(GetOrdinal(name));

    public override T GetFieldValue<T>(int ordinal) => HandOut(ordinal) is T cell ? cell : _inner.GetFieldValue<T>(ordinal);

    public override Task<T> GetFieldValueAsync<T>(int ordinal, CancellationToken cancellationToken)
        => HandOut(ordinal) is T cell ? Task.FromResult(cell) : _inner.GetFieldValueAsync<T>(ordinal, cancellationToken);

    public override object GetValue(int ordinal) => HandOut(ordinal) ?? _inner.GetValue(ordinal);

    public override string GetString(int ordinal) => HandOut(ordinal) as string ?? _inner.GetString(ordinal);

    public override int GetValues(object[] values)
    {
        var count = Math.Min(values.Length, FieldCount);
        for (var i = 0; i < count; i++)
        {
            values[i] = GetValue(i);
        }

        return count;
    }

    public override Stream GetStream(int ordinal)
    {
        HandOut(ordinal);
        return _inner.GetStream(ordinal);
    }

    public override TextReader GetTextReader(int ordinal)
    {
        HandOut(ordinal);
        return _inner.GetTextReader(ordinal);
    }

    public override bool GetBoolean(int ordinal) => _inner.GetBoolean(ordinal);

    public override byte GetByte(int ordinal) => _inner.GetByte(ordinal);

    public override long GetBytes(int ordinal, long dataOffset, byte[]? buffer, int bufferOffset, int length) => _inner.GetBytes(ordinal, dataOffset, buffer, bufferOffset, length);

    public override char GetChar(int ordinal) => _inner.GetChar(ordinal);

    public override long GetChars(int ordinal, long dataOffset, char[]? buffer, int bufferOffset, int length) => _inner.GetChars(ordinal, dataOffset, buffer, bufferOffset, length);

    public override string GetDataTypeName(int ordinal) => _inner.GetDataTypeName(ordinal);

    public override DateTime GetDateTime(int ordinal) => _inner.GetDateTime(ordinal);

    public override decimal GetDecimal(int ordinal) => _inner.GetDecimal(ordinal);

    public override double GetDouble(int ordinal) => _inner.GetDouble(ordinal);

    public override Type GetFieldType(int ordinal) => _inner.GetFieldType(ordinal);

    public override float GetFloat(int ordinal) => _inner.GetFloat(ordinal);

    public override Guid GetGuid(int ordinal) => _inner.GetGuid(ordinal);

    public override short GetInt16(int ordinal) => _inner.GetInt16(ordinal);

    public override int GetInt32(int ordinal) => _inner.GetInt32(ordinal);

    public override long GetInt64(int ordinal) => _inner.GetInt64(ordinal);

    public override string GetName(int ordinal) => _inner.GetName(ordinal);

    public override int GetOrdinal(string name) => _inner.GetOrdinal(name);

    public override DataTable? GetSchemaTable() => _inner.GetSchemaTable();

    public override bool IsDBNull(int ordinal) => _inner.IsDBNull(ordinal);

    public override Task<bool> IsDBNullAsync(int ordinal, CancellationToken cancellationToken) => _inner.IsDBNullAsync(ordinal, cancellationToken);

    public override IEnumerator GetEnumerator() => new DbEnumerator(this, closeReader: false);

    public override void Close()
    {
        if (_drained)
        {
            return;
        }

        try
        {
            _inner.Close();
        }
        catch
        {
            Release();
            throw;
        }
    }

    public override async Task CloseAsync()
    {
        if (_drained)
        {
            return;
        }

        try
        {
            await _inner.CloseAsync().ConfigureAwait(false);
        }
        catch
        {
            // EF then goes on to dispose of it without a word to the logger.
            Release();
            throw;
        }
    }

    public override async ValueTask DisposeAsync()
    {
        ReleaseUnfinished();
        await _inner.DisposeAsync().ConfigureAwait(false);
        await base.DisposeAsync().ConfigureAwait(false);
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            ReleaseUnfinished();
            _inner.Dispose();
        }

        base.Dispose(disposing);
    }

    /// <summary>Cells that EF buffered are opened after the reader is disposed of, but only where it was read to its end.</summary>
    private void ReleaseUnfinished()
    {
        if (!_ended)
        {
            Release();
        }
    }

    /// <summary>The cell at an ordinal, with the frame that its converter opens it by; null where there is none or it is a document, which EF reads itself.</summary>
    private object? HandOut(int ordinal)
    {
        var index = _cellOf[ordinal];
        if (index < 0)
        {
            return null;
        }

        var value = _values[index];
        if (value is not null)
        {
            OpeningFrame.Set(value, this, ordinal);
        }
        else if (_cells[index].Kind == CellKind.Document)
        {
            EndDocument();
            OpeningFrame.SetDocument(_document = new DocumentFrame(this, ordinal));
        }

        return value;
    }

    /// <summary>Before anything of the reader changes: the thread that parsed the last document may be at something else by now.</summary>
    private void EndDocument()
    {
        _document?.End();
        _document = null;
    }
}
