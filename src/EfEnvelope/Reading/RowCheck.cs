using System.Data.Common;
using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using EfEnvelope.Scoping;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage;
using Microsoft.EntityFrameworkCore.Storage.ValueConversion;

namespace EfEnvelope.Reading;

/// <summary>
/// What a row says of the scope of its cells: compared with the scope of the key that sealed them, so that a cell moved from another tenant, subject or row is refused.
/// One per reader and source of rows; remembers the row's answer, and the last value, as neighbouring rows often share it.
/// </summary>
internal sealed class RowCheck(EnvelopeCell cell, string? ambientScope)
{
    /// <summary>A row without a tenant, subject or row id was never written by EfEnvelope: it is nobody's, and no key is of its scope.</summary>
    public const string NoScope = "";

    private readonly IProperty? _scopeProperty = cell.Type?.ScopeProperty;
    private readonly Type? _scopeType = cell.Type?.ScopeProperty is { } property ? StoredType(property) : null;
    private readonly ValueConverter? _rowIdConverter = cell.Type?.RowIdProperty?.GetTypeMapping().Converter;
    private long _row;
    private string? _expected;
    private object? _lastValue;
    private Guid _lastGuid;
    private string? _lastParent;
    private Guid _lastRowId;
    private string? _lastRowParent;
    private string? _lastScope;

    /// <summary>The scope that the row's values name, or what they say of it (<see cref="KeyScope.Matches"/>); null where the query returns none of them.</summary>
    /// <param name="reader">Stands on the row.</param>
    /// <param name="row">The row's number, from 1: asked about again, the row is not read again.</param>
    /// <exception cref="MissingScopeException">The row belongs to the context's tenant, and none is set.</exception>
    public string? Expected(DbDataReader reader, long row)
    {
        if (ambientScope is null && cell.IsAmbient)
        {
            throw new MissingScopeException(
                $"{cell.Display} belongs to the context's tenant, but none is set, so it cannot be told whose value this is. Set the tenant before reading, or name it in the options: UseTenant(context => ...). It is not returned.")
            {
                Entity = cell.Type?.Root.DisplayName(),
                Property = cell.Display,
            };
        }

        if (_row != row)
        {
            _expected = FindReadable(reader);
            _row = row;
        }

        return _expected;
    }

    /// <summary>What was planted as a tenant, subject or row id and is none (SQLite lets a column hold any storage class) names nobody's row.</summary>
    private string? FindReadable(DbDataReader reader)
    {
        try
        {
            return Find(reader);
        }
        catch (Exception error) when (IsUnreadable(error))
        {
            return NoScope;
        }
    }

    private static bool IsUnreadable(Exception error) => error is InvalidCastException or FormatException or OverflowException or ArgumentException or MissingScopeException;

    private string? Find(DbDataReader reader)
    {
        var parent = Parent(reader);
        if (cell.RowIdOrdinal < 0)
        {
            return parent is null or NoScope || !cell.IsPerRow ? parent : OfAllRows(parent);
        }

        if (reader.IsDBNull(cell.RowIdOrdinal))
        {
            return NoScope;
        }

        var rowId = _rowIdConverter is null ? reader.GetFieldValue<Guid>(cell.RowIdOrdinal) : (Guid)_rowIdConverter.ConvertFromProvider(reader.GetValue(cell.RowIdOrdinal))!;
        if (_lastScope is null || rowId != _lastRowId || !ReferenceEquals(parent, _lastRowParent))
        {
            (_lastRowId, _lastRowParent) = (rowId, parent);
            _lastScope = KeyScope.ForRow(rowId, parent ?? KeyScope.Any);
        }

        return _lastScope;
    }

    private string OfAllRows(string parent)
    {
        if (_lastScope is null || !ReferenceEquals(parent, _lastRowParent))
        {
            _lastRowParent = parent;
            _lastScope = KeyScope.ForAllRows(parent);
        }

        return _lastScope;
    }

    /// <summary>The row id that row-bound cells of the row are bound to.</summary>
    /// <exception cref="EnvelopeRefusedException">The row's key is no value of its type.</exception>
    public string RowId(DbDataReader reader)
    {
        var parts = new object[cell.KeyOrdinals.Length];
        try
        {
            for (var i = 0; i < parts.Length; i++)
            {
                // An outer join may have found no row.
                parts[i] = reader.IsDBNull(cell.KeyOrdinals[i]) ? throw new InvalidCastException("NULL is no key.") : Read(reader, cell.KeyOrdinals[i], StoredType(cell.KeyProperties[i]));
            }
        }
        catch (Exception error) when (IsUnreadable(error))
        {
            throw new EnvelopeRefusedException($"The primary key of a row of {cell.Display} is no value of its type: the row-bound value cannot be of this row. It is not returned; the stored value is untouched.")
            {
                Property = cell.Display,
                ColumnId = cell.Column?.ColumnId,
            };
        }

        return ScopeValue.RowId(parts);
    }

    private string? Parent(DbDataReader reader)
    {
        if (cell.IsAmbient)
        {
            return ambientScope;
        }

        if (cell.Type is not { } type)
        {
            return null;
        }

        if (_scopeProperty is null)
        {
            return KeyScope.Global;
        }

        if (cell.ScopeOrdinal < 0)
        {
            return null;
        }

        if (reader.IsDBNull(cell.ScopeOrdinal))
        {
            return NoScope;
        }

        if (_scopeType == typeof(Guid))
        {
            var guid = reader.GetFieldValue<Guid>(cell.ScopeOrdinal);
            if (_lastParent is null || guid != _lastGuid)
            {
                _lastGuid = guid;
                _lastParent = RowScope.Of(type.Scope, guid);
            }

            return _lastParent;
        }

        var value = Read(reader, cell.ScopeOrdinal, _scopeType!);
        if (_lastParent is null || !value.Equals(_lastValue))
        {
            _lastValue = value;
            _lastParent = RowScope.Of(type.Scope, value);
        }

        return _lastParent;
    }

    private static Type StoredType(IProperty property)
    {
        var type = property.GetTypeMapping().Converter?.ProviderClrType ?? property.ClrType;
        return Nullable.GetUnderlyingType(type) ?? type;
    }

    private static object Read(DbDataReader reader, int ordinal, Type type)
    {
        if (type == typeof(Guid))
        {
            return reader.GetFieldValue<Guid>(ordinal);
        }

        if (type == typeof(ulong) || type == typeof(decimal))
        {
            return Unsigned(reader.GetValue(ordinal));
        }

        return type == typeof(string) ? reader.GetString(ordinal) : InRange(reader.GetInt64(ordinal), type);
    }

    /// <summary>Half of the values of 64 bits without a sign stand as negative numbers in SQLite, and PostgreSQL holds them all as numeric.</summary>
    private static ulong Unsigned(object value) => value is long bits ? unchecked((ulong)bits) : decimal.ToUInt64(Convert.ToDecimal(value, System.Globalization.CultureInfo.InvariantCulture));

    /// <summary>SQLite's integers are wider than the property's type: what does not fit is no value of it.</summary>
    private static long InRange(long value, Type type) => Type.GetTypeCode(type) switch
    {
        TypeCode.Int32 => checked((int)value),
        TypeCode.Int16 => checked((short)value),
        TypeCode.SByte => checked((sbyte)value),
        TypeCode.Byte => checked((byte)value),
        TypeCode.UInt16 => checked((ushort)value),
        TypeCode.UInt32 => checked((uint)value),
        _ => value,
    };
}
