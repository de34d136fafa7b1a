using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage;
using Microsoft.EntityFrameworkCore.Update;

namespace EfEnvelope.Writing;

/// <summary>A column of a command as EF made it, but for what a derived class says otherwise.</summary>
internal abstract class ColumnModificationDecorator(IColumnModification inner) : IColumnModification
{
    protected IColumnModification Inner => inner;

    public virtual RelationalTypeMapping? TypeMapping => Inner.TypeMapping;

    public virtual object? Value
    {
        get => Inner.Value;
        set => Inner.Value = value;
    }

    public IUpdateEntry? Entry => Inner.Entry;

    public IProperty? Property => Inner.Property;

    public IColumnBase? Column => Inner.Column;

    public bool? IsNullable => Inner.IsNullable;

    public bool IsRead
    {
        get => Inner.IsRead;
        set => Inner.IsRead = value;
    }

    public bool IsWrite
    {
        get => Inner.IsWrite;
        set => Inner.IsWrite = value;
    }

    public bool IsCondition
    {
        get => Inner.IsCondition;
        set => Inner.IsCondition = value;
    }

    public bool IsKey
    {
        get => Inner.IsKey;
        set => Inner.IsKey = value;
    }

    public bool UseOriginalValueParameter => Inner.UseOriginalValueParameter;

    public bool UseCurrentValueParameter => Inner.UseCurrentValueParameter;

    public bool UseOriginalValue => Inner.UseOriginalValue;

    public bool UseCurrentValue => Inner.UseCurrentValue;

    public bool UseParameter => Inner.UseParameter;

    public string? ParameterName => Inner.ParameterName;

    public string? OriginalParameterName => Inner.OriginalParameterName;

    public string ColumnName => Inner.ColumnName;

    public string? ColumnType => Inner.ColumnType;

    public virtual object? OriginalValue
    {
        get => Inner.OriginalValue;
        set => Inner.OriginalValue = value;
    }

    public string? JsonPath => Inner.JsonPath;

    public void AddSharedColumnModification(IColumnModification modification) => Inner.AddSharedColumnModification(modification);

    public virtual void ResetParameterNames() => Inner.ResetParameterNames();
}
