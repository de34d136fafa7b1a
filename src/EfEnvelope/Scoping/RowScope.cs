using EfEnvelope.Keys;
using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Scoping;

/// <summary>Turns a row's values into the scope of its data key (FORMAT.md, Keys). Pure, but for the ambient tenant.</summary>
internal static class RowScope
{
    /// <summary>The parent scope: global, the row's tenant or subject, or the context's tenant.</summary>
    /// <param name="info">The row's type.</param>
    /// <param name="value">The root's scope property's value.</param>
    /// <param name="ambientScope">The context's tenant.</param>
    /// <exception cref="MissingScopeException">It is null or the CLR default, or no tenant is set.</exception>
    public static string Parent(EncryptedTypeInfo info, object? value, string? ambientScope)
    {
        var scope = info.Scope;
        if (scope.IsAmbient)
        {
            return ambientScope is not null && KeyScope.Fits(ambientScope, scope.PerRow) ? ambientScope : throw new MissingScopeException(
                $"{info.Root.DisplayName()} takes its data key from the context's tenant, but {(ambientScope is null ? "none is set. Set the tenant before saving, or name it in the options: UseTenant(context => ...)" : "that is too long. Use a shorter identifier")}. Nothing was written.")
            {
                Entity = info.Root.DisplayName(),
            };
        }

        if (scope.PropertyName is null)
        {
            return KeyScope.Global;
        }

        var property = info.ScopeProperty!;
        if (IsNone(property, value))
        {
            throw new MissingScopeException(
                $"{info.Root.DisplayName()}.{property.Name} chooses the row's data key, but is {(value is null ? "null" : "the default of its type")}. Set it before saving. Nothing was written.")
            {
                Entity = info.Root.DisplayName(),
                Property = property.Name,
            };
        }

        return Named(info, property, ProviderValue(property, value!));
    }

    /// <summary>As <see cref="Of"/>, with an error that says whose value makes no scope.</summary>
    private static string Named(EncryptedTypeInfo info, IProperty property, object value)
    {
        MissingScopeException? refused = null;
        try
        {
            var parent = Of(info.Scope, value);
            if (KeyScope.Fits(parent, info.Scope.PerRow))
            {
                return parent;
            }
        }
        catch (MissingScopeException error)
        {
            refused = error;
        }

        throw new MissingScopeException(
            $"{info.Root.DisplayName()}.{property.Name} chooses the row's data key, but its value makes no scope: it is too long (a scope has at most 1,024 bytes of UTF-8 with its prefix{(info.Scope.PerRow ? " and the row's id" : "")}), or not valid Unicode. Use a shorter identifier. Nothing was written.",
            refused)
        {
            Entity = info.Root.DisplayName(),
            Property = property.Name,
        };
    }

    /// <summary>Whether a value of a scope property is none: null, the default of its type or of its stored form, or what the model takes for unset.</summary>
    public static bool IsNone(IProperty property, object? value)
        => value is null || IsDefault(value) || Equals(value, property.Sentinel) || IsDefault(ProviderValue(property, value));

    /// <summary>The scope that a value of the scope property, as the database returns it, names.</summary>
    public static string Of(ScopeDeclaration scope, object providerValue)
        => scope.Parent == DeclaredScope.Subject ? KeyScope.ForSubject(scope.SubjectName!, providerValue) : KeyScope.ForTenant(providerValue);

    /// <summary>The property's value after its own conversion.</summary>
    public static object ProviderValue(IProperty property, object value)
        => (property.GetTypeMapping().Converter is { } converter && converter.ProviderClrType is var type && (type == typeof(string) || type == typeof(Guid) || type.IsPrimitive)
            ? converter.ConvertToProvider(value)
            : value) ?? value;

    /// <summary>Whether a tenant or subject is the default of its type, which no row can mean.</summary>
    public static bool IsDefault(object value) => value switch
    {
        string text => text.Length == 0,
        Guid guid => guid == Guid.Empty,
        Enum number => Convert.ToInt64(number, System.Globalization.CultureInfo.InvariantCulture) == 0,
        IConvertible number => number.ToDecimal(System.Globalization.CultureInfo.InvariantCulture) == 0,
        _ => false,
    };
}
